"""How a component's command line becomes a step: arguments in, one call, outputs and events out.

KFP passes its executor input as JSON (`{{$}}`); outputs go to the file that it names, parameters and artifact metadata
alike, because that file is the only thing that both the cluster's launcher and the local runner read.
"""

import argparse
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from modelmill.digest import canonical_json
from modelmill.disk import full, is_full
from modelmill.errors import Interrupted, ModelmillError, UserError, without_secrets
from modelmill.events import Events
from modelmill.home import be_private, share_cores
from modelmill.last_lines import LastLines
from modelmill.logs import log_to_stderr
from modelmill.parent import POD_VARIABLE, end_with_parent
from modelmill.scratch import scratch_folder
from modelmill.settings import Section
from modelmill.step import Step

S = TypeVar("S", bound=Section)

LOGS_VARIABLE = "MODELMILL_LOGS"
# The mounts under which KFP's launcher shows remote artifacts (its `path` for a `uri`).
_MOUNTS = {"gs://": "/gcs/", "minio://": "/minio/", "s3://": "/s3/"}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a step answers: addresses for the next steps, figures for a person, and files that KFP's pages show."""

    outputs: Mapping[str, str]
    summary: Mapping[str, Any]
    artifacts: Mapping[str, str] = field(default_factory=dict)
    """Text of each output artifact by name; without one the summary as JSON is written."""
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What KFP's pages draw of an output artifact, by its name; without any the scalars of the summary."""


def main(
    stage: str,
    settings_class: type[S],
    inputs: Sequence[str],
    call: Callable[..., Result],
    arguments: Sequence[str] | None = None,
    launch: Callable[[str, S, Sequence[str], Events], int | Result | None] | None = None,
) -> int:
    """Run one component and return its exit code: 0 done, 1 failed, 2 the user's input is wrong.

    `call` gets the step, its settings, and each input by its name. `launch` may run the component in several processes
    instead, each of which comes here again with its rank in the environment; the first of them speaks for all, unless
    they ran on other nodes and `launch` has their result.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    rank = int(os.environ.get("RANK", "0"))
    parsed = _parse(stage, settings_class, inputs, arguments)
    name = parsed.step or stage
    be_private()
    share_cores()
    said = _log(name)
    events = Events.from_environment(name, rank)
    if "RANK" not in os.environ:
        events.emit("started", pid=os.getpid())
    if "RANK" in os.environ or os.environ.get(POD_VARIABLE):
        end_with_parent()
    try:
        settings = settings_class.model_validate_json(parsed.settings)
        made = launch(stage, settings, arguments, events) if launch is not None else None
        if isinstance(made, int):
            _keep_failure(events, said)
            return made
        if made is None:
            with _stepping(name, events, settings, parsed, rank) as step:
                made = call(step, settings, **{key: getattr(parsed, key) for key in inputs})
                _hand_back(step, made, rank)
        result = made
        if rank:
            return 0
        _write_outputs(parsed.executor_input, result)
    except ValidationError as error:
        return _failed(events, said, UserError(f"{name}: settings refused: {error}"))
    except ModelmillError as error:
        return _failed(events, said, error)
    except Exception as error:  # noqa: BLE001 - the last line of defence: what no one foresaw still ends in one clear line
        trace = without_secrets(traceback.format_exc())
        sys.stderr.write(trace)
        said.add(trace)
        return _failed(events, said, ModelmillError(without_secrets(f"{name}: {type(error).__name__}: {error}")))
    events.emit("done", exit_code=0, outputs=dict(result.outputs), summary=dict(result.summary))
    sys.stdout.write(json.dumps({**result.outputs, "summary": dict(result.summary)}) + "\n")
    return 0


def _parse(
    stage: str, settings_class: type[Section], inputs: Sequence[str], arguments: Sequence[str]
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m components.{stage}",
        description=(settings_class.__doc__ or "").splitlines()[0],
        epilog="The store is MODELMILL_STORE, MLflow is MLFLOW_TRACKING_URI. Outputs are printed as one JSON object.",
    )
    parser.add_argument("--settings", required=True, metavar="JSON", help=", ".join(settings_class.model_fields))
    for name in inputs:
        parser.add_argument(f"--{name.replace('_', '-')}", default="", metavar="ADDRESS", help="'' if there is none")
    parser.add_argument("--where", default="", metavar="DIGEST", help="of store and tracking, as resolve gave it")
    parser.add_argument("--step", default="", metavar="NAME", help=f"name in logs and tracking (default {stage})")
    parser.add_argument("--executor-input", default="", metavar="JSON", help="KFP's own, {{$}}")
    return parser.parse_args(arguments)


def _log(name: str) -> LastLines:
    """Log to standard error, or to the file that the environment wants; return what keeps the last lines."""
    folder = os.environ.get(LOGS_VARIABLE)
    if folder:
        # File descriptors, not sys.stdout: libraries in C and child processes write there too.
        log = os.open(Path(folder) / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
    said = LastLines()
    log_to_stderr(said)
    return said


@contextmanager
def _stepping(name: str, events: Events, settings: Section, parsed: argparse.Namespace, rank: int) -> Iterator[Step]:
    """Give a step what it works with; of several processes all but the first are silent."""
    from modelmill.store import open_store
    from modelmill.store.use import in_use
    from modelmill.tracking import is_where, step_run, where

    store = open_store()
    if parsed.where and not is_where(store, parsed.where):
        raise UserError(
            f"{name}: this step sees another store or MLflow ({store.uri}) than the resolve step did "
            f"({where(store)} against {parsed.where}); give every step the same MODELMILL_STORE and MLFLOW_TRACKING_URI"
        )
    with scratch_folder(name) as scratch:
        heard = Events(step=name, path=None) if rank else events
        step = Step(name=name, store=store, scratch=scratch, events=heard)
        step.stop_on_signals()
        tracked = nullcontext() if rank else step_run(step, settings.model_dump(mode="json"))
        used = nullcontext() if rank else in_use(store, vars(parsed))
        with used, tracked, _room_in(step.scratch):
            yield step


@contextmanager
def _room_in(scratch: Path) -> Iterator[None]:
    """Say where there is no room: what else a step writes to says so itself."""
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        way_out = "make room or set TMPDIR to a folder on a larger disk"
        raise ModelmillError(f"{scratch}: {full(scratch)}; {way_out}") from error


def _hand_back(step: Step, result: Result, rank: int) -> None:
    """Give a result to the step that waits for it on another node, if one does."""
    if rank == 0 and os.environ.get("MODELMILL_TRAINJOB"):
        from modelmill.trainjob.result import hand_back

        hand_back(step.store, result)


def _failed(events: Events, said: LastLines, error: ModelmillError) -> int:
    told = without_secrets(str(error))
    logging.getLogger("modelmill").error("%s", told)
    events.emit("failed", exit_code=error.exit_code, message=told, interrupted=isinstance(error, Interrupted))
    _keep_failure(events, said)
    return error.exit_code


def _keep_failure(events: Events, said: LastLines) -> None:
    """Keep why a step failed where no one reads its events: on a cluster, whoever tells of the run asks MLflow."""
    from modelmill.tracking import RUN_VARIABLE, keep_failure

    if events.failure and events.path is None and os.environ.get(RUN_VARIABLE):
        keep_failure(events.step, events.failure, said.lines, events.exit_code)


def _write_outputs(executor_input: str, result: Result) -> None:
    if not executor_input:
        return
    outputs = json.loads(executor_input)["outputs"]
    artifacts = {}
    for name, listed in outputs.get("artifacts", {}).items():
        artifact = listed["artifacts"][0]
        path = Path(_local_path(artifact["uri"]))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(result.artifacts.get(name) or json.dumps({**result.outputs, "summary": result.summary}))
        metadata = result.metadata.get(name, _flat(result.summary))
        described = {"name": artifact.get("name", name), "uri": artifact["uri"], "metadata": metadata}
        artifacts[name] = {"artifacts": [described]}
    file = Path(outputs["outputFile"])
    file.parent.mkdir(parents=True, exist_ok=True)
    parameters = {**result.outputs, "summary": canonical_json(result.summary)}
    file.write_text(json.dumps({"parameterValues": parameters, "artifacts": artifacts}))


def _local_path(uri: str) -> str:
    for scheme, mount in _MOUNTS.items():
        if uri.startswith(scheme):
            return mount + uri.removeprefix(scheme)
    return uri


def _flat(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return what KFP's pages show as a table: scalars."""
    return {key: value for key, value in summary.items() if isinstance(value, str | int | float)}
