"""Serves a model over HTTP as MLflow's scoring protocol says it: `/invocations`, `/ping`, `/health`, `/version`.

`python -m modelmill.models.server REFERENCE` is all that an image with torch needs, and what the train image runs: the
reference is a registered version, or the address that the model has in a store. The server is MLflow's own; the answers
are those of `modelmill predict`.
"""

import argparse
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd

from modelmill.errors import ModelmillError, UserError
from modelmill.home import be_private, share_cores
from modelmill.logs import log_to_stderr
from modelmill.models.folder import MODEL_FILE
from modelmill.models.interface import answers, interface
from modelmill.models.reference import model_folder
from modelmill.scratch import scratch_folder

log = logging.getLogger(__name__)

MODEL_VARIABLE = "MODELMILL_MODEL"
"""Names the model that an image serves."""
HOST, PORT = "127.0.0.1", 5000
# Of a request that is being answered when the server is asked to end.
_GRACE_SECONDS = 15


class Answering:
    """A model's folder as MLflow's server asks it: a table of raw rows in, a table of answers out."""

    def __init__(self, folder: Path) -> None:
        from modelmill.models.predict import load_predictor

        self._interface = interface(json.loads((folder / MODEL_FILE).read_text()))
        self._predictor = load_predictor(folder)
        # Requests come in threads; each answer takes all cores, and tokenizers remember words.
        self._one_at_a_time = Lock()

    def predict(self, data: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """Return the answers, a row for each row that was given.

        Raises:
            MlflowException: a row is not what the model reads, and the server answers 400; or the answer is no finite
                number, and it answers 500.
        """
        from mlflow.exceptions import MlflowException

        try:
            with self._one_at_a_time:
                predicted = self._predictor.predict(self._interface.inputs(data))
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        if predicted.dtype.kind == "f" and not np.isfinite(predicted).all():
            raise MlflowException("the model gives no finite answer: its weights are broken, or the input is extreme")
        return pd.DataFrame(answers(self._predictor.labels, predicted, self._interface.text))


def application(folder: Path) -> Any:
    """Return MLflow's scoring server (an ASGI application) of a model's folder.

    Raises:
        UserError: the folder holds no model that answers.
    """
    from mlflow.models import Model
    from mlflow.pyfunc import FLAVOR_NAME, PyFuncModel
    from mlflow.pyfunc.scoring_server import init

    from modelmill.registry.pack import signature

    answering = Answering(folder)
    described = Model(signature=signature(interface(json.loads((folder / MODEL_FILE).read_text()))))
    described.add_flavor(FLAVOR_NAME, loader_module=__name__)
    return init(PyFuncModel(described, answering))


def serve(reference: str, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve a model until the process is asked to end (SIGTERM, Ctrl-C), which is no failure.

    `ready` hears the address once the model is loaded.

    Raises:
        UserError: there is no such model, or the port is taken.
    """
    import uvicorn

    with scratch_folder("serve") as scratch, _listening(host, port) as listening:
        # uvicorn raises again what it was stopped by, once it has ended.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end)
        folder = model_folder(reference, scratch)
        config = uvicorn.Config(application(folder), log_level="warning", timeout_graceful_shutdown=_GRACE_SECONDS)
        ready(f"http://{host}:{listening.getsockname()[1]}")
        uvicorn.Server(config).run(sockets=[listening])


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that is bound before the weights are loaded: a port that is taken is told at once."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        # Who asks while the weights are loaded waits for them.
        listening.listen(128)
    except (OSError, OverflowError) as error:
        raise UserError(f"{host}:{port}: cannot listen there: {error}; choose another --port or --host") from error
    return listening


def main() -> int:
    """Serve a model; return 1 where that failed, 2 where the input is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m modelmill.models.server",
        description="Serve a model as MLflow's scoring protocol says it.",
        epilog="The store is MODELMILL_STORE, MLflow is MLFLOW_TRACKING_URI.",
    )
    named = os.environ.get(MODEL_VARIABLE) or None
    what = "NAME@ALIAS, models:/NAME/VERSION, models/<address>, s3://… or a folder"
    parser.add_argument("reference", nargs="?", default=named, help=f"{what}; {MODEL_VARIABLE} if left out")
    parser.add_argument("--host", default=HOST, help=f"default {HOST}; 0.0.0.0 for all, as a container needs")
    parser.add_argument("--port", type=int, default=PORT, help=f"default {PORT}; 0 for any that is free")
    told = parser.parse_args()
    if told.reference is None:
        parser.error(f"no model: name one, {what}, here or in {MODEL_VARIABLE}")
    be_private()
    share_cores()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    log_to_stderr()
    try:
        serve(told.reference, told.host, told.port, lambda at: log.info("%s answers at %s", told.reference, at))
    except ModelmillError as error:
        log.error("%s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
