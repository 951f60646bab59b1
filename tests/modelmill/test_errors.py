"""What messages must not hold."""

import pytest

from modelmill.errors import without_credentials


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
