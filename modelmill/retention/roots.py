"""What the registry needs: the versions that stay, why each does, and what their tags name."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from modelmill.errors import UserError, without_credentials
from modelmill.home import tracking_uri
from modelmill.references import references
from modelmill.registry.asking import asking, pages
from modelmill.registry.history import History, standing
from modelmill.registry.versions import CHAMPION, MODEL_TAG
from modelmill.retention.settings import ANY, RetentionSettings
from modelmill.store import Store

Why = Literal["champion", "version", "young", "running", "record", "unknown"]
"""`record`: what is never removed, as histories. `unknown`: of no kind that modelmill writes."""


@dataclass(frozen=True, kw_only=True)
class KeptVersion:
    """A version that stays with all that it was made from."""

    name: str
    version: str
    because: tuple[str, ...]
    """In words."""
    addresses: tuple[str, ...]
    """What its tags name."""

    @property
    def why(self) -> Why:
        """Whether it is a champion or another version."""
        return "champion" if CHAMPION in self.because else "version"


def kept_versions(client: Any, store: Store, settings: RetentionSettings, cutoff: float) -> list[KeptVersion]:
    """Return the versions that stay: champions, those that a rollback may return to, aliased, newest or young ones.

    `cutoff` is the time, in seconds since 1970, after which a version is young.

    Raises:
        UserError: the store tells of models that this MLflow does not know.
        ModelmillError: MLflow does not answer, or a history was changed.
    """
    with asking("listing the registered models"):
        aliases = {model.name: dict(model.aliases) for model in pages(client.search_registered_models)}
        found = [one for one in pages(client.search_model_versions) if MODEL_TAG in one.tags]
    versions: dict[str, list[Any]] = defaultdict(list)
    for one in sorted(found, key=lambda one: int(one.version)):
        versions[one.name].append(one)
    _check_known(store, settings, set(versions))
    kept = []
    for name, those in sorted(versions.items()):
        because = _because(store, name, aliases.get(name, {}), those, settings.keep_versions, cutoff)
        kept += [_kept(one, because[str(one.version)]) for one in those if because[str(one.version)]]
    # Champions first: what several need is counted as theirs.
    return sorted(kept, key=lambda one: one.why != CHAMPION)


def _because(
    store: Store, name: str, aliases: Mapping[str, Any], versions: list[Any], newest: int, cutoff: float
) -> dict[str, tuple[str, ...]]:
    """Return for what reasons each version stays; none for one that need not."""
    before = standing(History(store=store, name=name).entries())
    words: dict[str, list[str]] = {str(one.version): [] for one in versions}

    def say(version: str, word: str) -> None:
        # An alias may stand at, and a history name, what was deleted or is not of modelmill's making.
        if version in words and word not in words[version]:
            words[version].append(word)

    for version in before[-1:]:
        say(version, CHAMPION)
    for alias, version in sorted(aliases.items()):
        say(str(version), alias)
    for version in before[:-1]:
        say(version, "champion before")
    for version in sorted(words, key=int)[-newest:]:
        say(version, f"one of the last {newest}")
    for one in versions:
        if max(one.creation_timestamp or 0, one.last_updated_timestamp or 0) / 1000 >= cutoff:
            say(str(one.version), "young")
    return {version: tuple(said) for version, said in words.items()}


def _kept(version: Any, because: tuple[str, ...]) -> KeptVersion:
    named = tuple(one.name for one in references(dict(version.tags)) if one.kind == "address")
    return KeptVersion(name=version.name, version=str(version.version), because=because, addresses=named)


def _check_known(store: Store, settings: RetentionSettings, names: set[str]) -> None:
    """Refuse an MLflow that is not the one of this store: all that its versions need would go.

    Raises:
        UserError: the store tells of models that this MLflow does not know.
    """
    if ANY in settings.deleted:
        return
    unknown = sorted({*_told_of(store)} - names - {*settings.deleted})
    where = without_credentials(tracking_uri())
    if unknown:
        raise UserError(
            f"{store.uri} tells of {len(unknown)} registered models that MLflow at {where} has no version of, as "
            f"{unknown[0]}: correct MLFLOW_TRACKING_URI, or, if it was deleted on purpose, give --deleted {unknown[0]}"
        )
    if not names and next(store.keys("golden/"), None) is not None:
        raise UserError(
            f"{store.uri} holds golden rows of registered models, and MLflow at {where} has no version of any: correct "
            f"MLFLOW_TRACKING_URI, or, if all were deleted on purpose, give --deleted '{ANY}'"
        )


def _told_of(store: Store) -> Iterator[str]:
    """Yield the registered models that the store keeps a history or approvals of."""
    for folder in ("promotions", "approvals"):
        for key in store.keys(f"{folder}/"):
            yield key.split("/")[1]
