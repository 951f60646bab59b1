"""Model versions in the MLflow registry: the same content is one version, and aliases say what a version is for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmill.errors import ModelmillError, UserError, without_credentials
from modelmill.home import tracking_uri
from modelmill.registry.asking import asking
from modelmill.registry.pack import pack
from modelmill.tracking import mlflow_client

MODEL_TAG = "modelmill.model"
"""A version's tag that holds the model's address in the store; what makes registering idempotent."""
CHAMPION = "champion"
CHALLENGER = "challenger"


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The versions of one registered model."""

    client: Any
    name: str

    def find(self, model: str) -> str | None:
        """Return the version whose content is a model's address, or None."""
        found = self.client.search_model_versions(f"name = '{self.name}' and tags.`{MODEL_TAG}` = '{model}'")
        # The first one: another was made where two registered at once, or an answer was lost, and goes again.
        return str(min(int(version.version) for version in found)) if found else None

    def tags(self, version: str) -> dict[str, str]:
        """Return a version's tags.

        Raises:
            UserError: there is no such version.
            ModelmillError: MLflow does not answer.
        """
        with asking(f"{self.name} version {version}"):
            return dict(self.client.get_model_version(self.name, version).tags)

    def has(self, version: str) -> bool:
        """Return whether there is a version, which someone may have deleted."""
        from mlflow.exceptions import MlflowException

        try:
            return str(self.client.get_model_version(self.name, version).version) == version
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise

    def tag(self, version: str, tags: Mapping[str, str]) -> None:
        """Give a version tags, in their order; those that it has already are not sent again."""
        there = self.client.get_model_version(self.name, version).tags
        for key, value in tags.items():
            if there.get(key) != value:
                self.client.set_model_version_tag(self.name, version, key, value)

    def alias(self, alias: str) -> str | None:
        """Return the version that an alias stands at, or None."""
        from mlflow.exceptions import MlflowException

        try:
            return str(self.client.get_model_version_by_alias(self.name, alias).version)
        except MlflowException as error:
            if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                return None
            raise

    def set_alias(self, alias: str, version: str) -> None:
        """Let an alias stand at a version."""
        if self.alias(alias) != version:
            self.client.set_registered_model_alias(self.name, alias, version)

    def aliases(self, version: str) -> tuple[str, ...]:
        """Return the aliases that stand at a version, sorted."""
        standing = self.client.get_registered_model(self.name).aliases
        return tuple(sorted(alias for alias, at in standing.items() if str(at) == version))

    def describe(self, version: str, text: str) -> None:
        """Let MLflow's page of a version say something, if it does not say so already."""
        if (self.client.get_model_version(self.name, version).description or "") != text:
            self.client.update_model_version(self.name, version, text)

    def add(
        self,
        model: str,
        folder: Path,
        *,
        run: str,
        example: Any,
        tags: Mapping[str, str],
        files: Mapping[str, str] | None = None,
    ) -> str:
        """Make a version of a model's folder, with signature and input example, and return its number.

        The example is what a predictor is asked: a text, the bytes of a picture, a table's row as a mapping. `files`
        are texts by name that lie beside the model.

        The version appears last, so one that can be seen is whole.

        Raises:
            MlflowException: MLflow refuses it; what was made so far is marked as failed there.
        """
        import mlflow
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus

        mlflow.set_tracking_uri(tracking_uri())
        mlflow.set_registry_uri(tracking_uri())
        experiment = self.client.get_run(run).info.experiment_id
        logged = self.client.create_logged_model(experiment, name=self.name, source_run_id=run, model_type="modelmill")
        try:
            packed = folder.with_name(f"{folder.name}-mlflow")
            pack(packed, folder, logged=logged, run=run, example=example)
            for name, text in (files or {}).items():
                (packed / name).write_text(text)
            self.client.log_model_artifacts(logged.model_id, str(packed))
        except BaseException:
            self.client.finalize_logged_model(logged.model_id, LoggedModelStatus.FAILED)
            raise
        self.client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        self.client.log_outputs(run, models=[LoggedModelOutput(logged.model_id, 0)])
        uri = f"models:/{logged.model_id}"
        made = str(mlflow.register_model(uri, self.name, tags={MODEL_TAG: model, **tags}).version)
        kept = self.find(model) or made
        if kept != made:
            # Made twice: by another run at this moment, or by a call that was sent again as its answer was lost.
            self.client.delete_model_version(self.name, made)
        return kept


def fetch(reference: str, folder: Path) -> Path:
    """Fetch a registered version's model folder from MLflow: `name@alias`, `models:/name@alias` or `models:/name/3`.

    Raises:
        UserError: there is no such model, version or alias.
        ModelmillError: MLflow does not answer.
    """
    client, version = mlflow_client(), fixed(reference)
    source = client.get_model_version_download_uri(version.name, version.version)
    return _model_folder(_local(source, folder))


def fetch_artifact(reference: str, folder: Path) -> Path:
    """Fetch a model's folder from a run's artifacts, `runs:/<run>/<path>`: the folder itself, or a logged model's.

    Raises:
        UserError: there is no such run or path.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri(tracking_uri())
    try:
        found = Path(mlflow.artifacts.download_artifacts(artifact_uri=reference, dst_path=str(folder)))
    except (MlflowException, OSError) as error:
        raise UserError(f"{reference}: no such artifact at {without_credentials(tracking_uri())}: {error}") from error
    return found if (found / "config.json").is_file() else _model_folder(found)


def fixed(reference: str) -> Any:
    """Return MLflow's version that a reference names now: `name@alias`, `models:/name@alias` or `models:/name/3`.

    Raises:
        UserError: there is no such model, version or alias.
        ModelmillError: MLflow does not answer.
    """
    from mlflow.exceptions import MlflowException

    name, mark, alias = reference.removeprefix("models:/").partition("@")
    client = mlflow_client()
    try:
        if not mark:
            name, _, alias = name.partition("/")
            return client.get_model_version(name, alias)
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise UserError(f"{reference}: {error.message}; {_known(client, name)}") from error
        raise ModelmillError(
            f"{reference}: MLflow at {without_credentials(tracking_uri())} gives no answer: "
            f"{without_credentials(error.message)}; check MLFLOW_TRACKING_URI"
        ) from None


def _local(source: str, folder: Path) -> Path:
    """A version's files where they lie, or, if that is not on this machine, fetched into a folder."""
    import mlflow

    path = Path(source.removeprefix("file://"))
    if path.is_dir():
        return path
    mlflow.set_tracking_uri(tracking_uri())
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=str(folder)))


def _model_folder(version: Path) -> Path:
    folders = [path.parent for path in (version / "artifacts").glob("*/modelmill.json")]
    if len(folders) != 1:
        raise UserError(f"{version}: holds {len(folders)} models that modelmill made, 1 is needed")
    return folders[0]


def _known(client: Any, name: str) -> str:
    models = {model.name: model.aliases for model in client.search_registered_models()}
    if name in models:
        return f"its aliases are {', '.join(sorted(models[name])) or 'none'}"
    return (
        f"registered are {', '.join(sorted(models)) or 'no models'} (MLFLOW_TRACKING_URI says which registry is asked)"
    )
