"""Results folders of every format are read, verified and continued; those of a later one are refused by name."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from pipeline.planning.packs import Machine, stored_spec
from pipeline.store.files import CorruptFileError
from pipeline.store.formats import sealed
from pipeline.store.formats.sealed import DOCUMENT_FORMAT, NewerFormatError, seal, unseal
from pipeline.store.sweep_store import SweepStore
from tests.support import rows, trained
from tests.sweeps.test_cli import run

# One folder of each format that was ever written, made by the version that wrote it last.
KEPT = sorted((Path(__file__).parent / "kept").glob("format_*"))


# The checksum, up to format 2, of the body {"a": 1}.
OF_A = hashlib.sha256(b'{"a":1}').hexdigest()


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
    # The sources of that version are another's.
    code, printed = run(monkeypatch, capsys, "launch", spec, *longer, "--accept-changed-code")
    assert code == 0, printed
    found = rows(kept)
    expected = rows(trained(stored_spec(kept), tmp_path / "new"))
    assert {key: found[key] for key in expected} == expected
    assert len({run_id for run_id, *_ in found}) == 5


def test_a_later_format_is_refused_by_name_and_is_no_damage(kept, monkeypatch, capsys):
    path = kept.folder / "sweep.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"format": DOCUMENT_FORMAT + 1, "sha256": "0" * 64}))
    for command in ("status", "verify", "repair", "analyse", "resume", "forecast"):
        code, printed = run(monkeypatch, capsys, command, kept.folder)
        assert code == 2, printed
        assert f"sweep.json: was written by a later version of seedbed (format {DOCUMENT_FORMAT + 1};" in printed
    assert json.loads(path.read_text())["format"] == DOCUMENT_FORMAT + 1


def test_a_document_says_its_format(tmp_path):
    content = seal({"a": 1})
    assert json.loads(content)["format"] == DOCUMENT_FORMAT
    assert unseal(content, tmp_path) == {"a": 1}
    later = json.dumps(json.loads(content) | {"format": 99, "sha256": "0" * 64}).encode()
    with pytest.raises(NewerFormatError):
        unseal(later, tmp_path)


def test_a_document_of_a_later_format_seals_its_number(tmp_path, monkeypatch):
    monkeypatch.setattr(sealed, "DOCUMENT_FORMAT", DOCUMENT_FORMAT + 1)
    content = seal({"a": 1})
    assert unseal(content, tmp_path) == {"a": 1}
    assert unseal(json.dumps({"body": {"a": 1}, "sha256": OF_A, "format": 2}).encode(), tmp_path) == {"a": 1}
    monkeypatch.undo()
    with pytest.raises(NewerFormatError):
        unseal(content, tmp_path)


def test_a_document_whose_number_is_damaged_is_no_later_one_and_its_copy_is_read(kept, monkeypatch, capsys):
    content = seal({"a": 1})
    for bit in range(8):
        damaged = bytearray(content)
        damaged[content.index(b'"format": ') + len(b'"format": ')] ^= 1 << bit
        with pytest.raises(CorruptFileError):
            unseal(bytes(damaged), kept.folder)
    store = SweepStore(kept.folder)
    store.write_documents(store.sweep, store.plan, is_shared=False)
    before, path = rows(store), kept.folder / "sweep.json"
    path.write_bytes(
        path.read_bytes().replace(f'"format": {DOCUMENT_FORMAT}'.encode(), f'"format": {DOCUMENT_FORMAT + 1}'.encode())
    )
    assert rows(SweepStore(kept.folder)) == before
    assert run(monkeypatch, capsys, "verify", kept.folder)[0] == 1
    assert run(monkeypatch, capsys, "repair", kept.folder, "--inline")[0] == 0
    assert run(monkeypatch, capsys, "verify", kept.folder)[0] == 0
