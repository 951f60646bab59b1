"""Where things are, and what is kept apart from where."""

import os
import subprocess
import sys

import pytest

from modelmill.home import be_private, tracking_uri


def test_mlflows_password_is_given_apart_from_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ann:p%40ss@mlflow.example.org:5000/a?b=c")
    for name, value in (("USERNAME", "bob"), ("PASSWORD", "other")):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    for _ in range(2):
        be_private()
        assert tracking_uri() == "https://mlflow.example.org:5000/a?b=c"
        assert (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == ("ann", "p@ss")


@pytest.mark.parametrize(
    "uri", ["http://mlflow:5000", "postgresql://ann:pass@host/db", "sqlite:////tmp/x@y/a.db", "http://[", ""]
)
def test_every_other_address_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bob")
    be_private()
    assert (os.environ["MLFLOW_TRACKING_URI"], os.environ["MLFLOW_TRACKING_USERNAME"]) == (uri, "bob")


def test_no_line_of_a_log_holds_a_password_whoever_wrote_it() -> None:
    code = (
        "import logging\nfrom modelmill.logs import log_to_stderr\nlog_to_stderr()\n"
        "try:\n    raise OSError('http://ann:hunter2@host/x')\n"
        "except OSError as error:\n    logging.getLogger('some.library').warning('gone: %s', error, exc_info=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "some.library: gone: http://host/x" in done.stderr
    assert "hunter2" not in done.stderr
