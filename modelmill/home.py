"""Where everything is when nothing is configured: `.modelmill` in the current folder."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

TRACKING_VARIABLE = "MLFLOW_TRACKING_URI"


def home() -> Path:
    """Return the folder of local defaults, absolute; it may not exist yet."""
    return Path.cwd() / ".modelmill"


def tracking_uri() -> str:
    """Return MLflow's address: the environment's, else a SQLite file in the local home."""
    return os.environ.get(TRACKING_VARIABLE) or f"sqlite:///{home() / 'mlflow.db'}"


def artifact_location() -> str | None:
    """Return where a new experiment puts its artifacts: beside the local database, or where the server says."""
    return None if os.environ.get(TRACKING_VARIABLE) else str(home() / "mlartifacts")


def be_private() -> None:
    """Turn off the reports that libraries send home, and take MLflow's password out of its address.

    A person who set the variables of the former otherwise is not overruled.
    """
    _part_password_from_address()
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("DO_NOT_TRACK", "true")


def _part_password_from_address() -> None:
    """Give MLflow user and password apart from its address, which it prints, and puts into its errors."""
    said = os.environ.get(TRACKING_VARIABLE, "")
    try:
        parts = urlsplit(said)
    except ValueError:
        # MLflow says what is wrong with it.
        return
    if parts.scheme in {"http", "https"} and parts.username and parts.password:
        os.environ[TRACKING_VARIABLE] = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        # As before: those in the address come first.
        os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username)
        os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password)


def share_cores() -> None:
    """Let OpenMP's threads sleep where they would spin while they wait for each other; before torch is loaded.

    On a machine with other work a spinning thread keeps the core from the one it waits for: with a busy neighbour on
    two cores, fine-tuning a small BERT takes 0.65 s a step so, and 4.0 s with the default.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
