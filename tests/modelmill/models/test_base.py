from pathlib import Path

import pytest

from modelmill.errors import ModelmillError, UserError
from modelmill.models.base import base_folder
from tests import samples


def test_a_pinned_folder_is_found_again(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert base_folder(samples.pinned(tmp_path)) == tmp_path


def test_a_folder_that_changed_or_went_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text("{}")
    pin = samples.pinned(tmp_path)
    file.write_text('{"a": 1}')
    with pytest.raises(ModelmillError, match="the base model changed since the run began"):
        base_folder(pin)
    file.unlink()
    with pytest.raises(UserError, match="0 files"):
        base_folder(pin)
