"""What messages must not hold."""

import pytest

from modelmill.errors import without_credentials, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:secret@host:5000/x is gone", "http://host:5000/x is gone"),
        ("http://host:5000/@home", "http://host:5000/@home"),
        ("sqlite:////tmp/a.db", "sqlite:////tmp/a.db"),
        ("two: 's3://k:s@a/b' and postgresql://me:p%40ss@db/x", "two: 's3://a/b' and postgresql://db/x"),
        ("mail me@example.org", "mail me@example.org"),
    ],
)
def test_credentials_in_uris_are_never_shown(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


def test_the_values_of_secret_variables_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {
        "AWS_SECRET_ACCESS_KEY": "secret/with+marks",
        "MODELMILL_NOTIFY": "https://hooks.example.org/T0 smtp://mail",
        "TOKENIZERS_PARALLELISM": "false-alarm",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token-file",
        "HF_TOKEN": "ab",
    }
    for name, value in held.items():
        monkeypatch.setenv(name, value)
    text = "put with secret/with+marks to https://hooks.example.org/T0: false-alarm, /var/run/token-file, absent"
    assert without_secrets(text) == "put with *** to ***: false-alarm, /var/run/token-file, absent"
