"""Data of the user's own before a task has them: what a function raises is told, what is kept is private."""

from __future__ import annotations

import os

import pytest

from pipeline.own_code import imported
from pipeline.tasks import _kept_data
from pipeline.tasks._arrays import DataError
from pipeline.tasks._kept_data import DataOrigin, content_of

RAISING = """
import sys


def made():
    return changed({})


def changed(kept):
    return kept["inputs"]


def ended():
    sys.exit("no data today")


class LightningDataModule:
    pass


class Data(LightningDataModule):
    def prepare_data(self):
        raise OSError("no disk\\nat all")
"""


@pytest.fixture(autouse=True)
def _apart(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _kept_data._content_of_version.cache_clear()
    yield
    _kept_data._content_of_version.cache_clear()
    imported.forget(str(tmp_path / "my_data.py"))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("made", r"my_data:made: \S+/my_data\.py:10: KeyError: 'inputs'$"),
        ("ended", r"my_data:ended: \S+/my_data\.py:14: SystemExit: no data today$"),
        ("Data", r"my_data:Data: \S+/my_data\.py:23: OSError: no disk$"),
    ],
)
def test_what_a_function_that_makes_data_raises_is_told_with_the_users_file_and_line(tmp_path, name, told):
    (tmp_path / "my_data.py").write_text(RAISING)
    imported.load(str(tmp_path / "my_data.py"))
    with pytest.raises(DataError, match=told):
        content_of(DataOrigin(load=f"my_data:{name}"))


def test_what_is_kept_of_data_belongs_to_its_user_alone(tmp_path):
    before = os.umask(0o022)
    try:
        content = content_of(DataOrigin())
    finally:
        os.umask(before)
    kept = tmp_path / "cache" / "seedbed" / "data" / content.sha256
    modes = {path.name: path.stat().st_mode & 0o777 for path in (kept, *kept.iterdir())}
    names = {"inputs.npy", "targets.npy", "place.json"}
    assert modes == {kept.name: 0o700, **dict.fromkeys(names, 0o600)}
