"""Results folders of every format are read, verified and continued; those of a later one are refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline.planning.packs import Machine, stored_spec
from pipeline.store.files import DOCUMENT_FORMAT, NewerFormatError, seal, unseal
from pipeline.store.sweep_store import SweepStore
from tests.support import rows, trained
from tests.sweeps.test_cli import run

# One folder of each format that was ever written, made by the version that wrote it last.
KEPT = sorted((Path(__file__).parent / "kept").glob("format_*"))


@pytest.fixture(params=KEPT, ids=lambda path: path.name)
def kept(request, tmp_path):
    shutil.copytree(request.param, tmp_path / "r")
    return SweepStore(tmp_path / "r")


def test_there_is_one_of_every_earlier_format():
    assert [path.name for path in KEPT] == [f"format_{number}" for number in range(1, DOCUMENT_FORMAT)]


def test_a_kept_folder_is_read_and_verified(kept, monkeypatch, capsys):
    history = kept.history()
    assert [end.step for end in history.ends] == [40, 40, 40]
    assert history.values["label_loss"].shape == (3, 4 + len(set(history.steps_T.tolist()) - {10, 20, 30, 40}))
    assert run(monkeypatch, capsys, "status", kept.folder)[0] == 0
    assert run(monkeypatch, capsys, "verify", kept.folder)[0] == 0
    assert run(monkeypatch, capsys, "analyse", kept.folder)[0] == 0


def test_a_kept_folder_is_continued_with_the_bits_of_a_new_one(kept, tmp_path, monkeypatch, capsys):
    planned = kept.plan["packs"][0]["numerics"]["torch"]
    if planned.partition("+")[0] != Machine.cpu(1).torch.partition("+")[0]:
        pytest.skip(f"it was made with torch {planned}")
    spec = Path(__file__).parent / "kept" / "spec.yaml"
    longer = ("seeds={together: {range: [0, 5]}}", "--inline", "--results", kept.folder)
    code, printed = run(monkeypatch, capsys, "launch", spec, *longer)
    assert code == 0, printed
    found = rows(kept)
    expected = rows(trained(stored_spec(kept), tmp_path / "new"))
    assert {key: found[key] for key in expected} == expected
    assert len({run_id for run_id, *_ in found}) == 5


def test_a_later_format_is_refused_by_name_and_is_no_damage(kept, monkeypatch, capsys):
    path = kept.folder / "sweep.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"format": DOCUMENT_FORMAT + 1}))
    for command in ("status", "verify", "repair", "analyse", "resume", "forecast"):
        code, printed = run(monkeypatch, capsys, command, kept.folder)
        assert code == 2, printed
        assert f"sweep.json: was written by a later version of seedbed (format {DOCUMENT_FORMAT + 1};" in printed
    assert json.loads(path.read_text())["format"] == DOCUMENT_FORMAT + 1


def test_a_document_says_its_format(tmp_path):
    content = seal({"a": 1})
    assert json.loads(content)["format"] == DOCUMENT_FORMAT
    assert unseal(content, tmp_path) == {"a": 1}
    with pytest.raises(NewerFormatError):
        unseal(content.replace(f'"format": {DOCUMENT_FORMAT}'.encode(), b'"format": 99'), tmp_path)
