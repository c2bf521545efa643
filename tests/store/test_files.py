"""Files: written whole or not at all, in formats that notice every damage."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.store import files
from pipeline.store.files import CorruptFileError
from pipeline.store.formats import columns
from pipeline.store.formats.sealed import seal, unseal
from pipeline.store.formats.tables import decode_arrays, decode_table, encode_arrays

ARRAYS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array(np.nan),
    "empty": np.zeros((0, 4), np.int64),
    "scalar": np.array(7, np.int64),
}


def test_arrays_come_back_bit_for_bit(tmp_path):
    back = decode_arrays(encode_arrays(ARRAYS), tmp_path)
    assert list(back) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()


def test_columns_are_those_that_pyarrow_makes(monkeypatch):
    values, is_null = np.array([1.5, np.nan, -0.0, 4.0, *range(9)]), np.arange(13) % 3 == 1
    assert columns.numbers(values, is_null).equals(pa.array(values, mask=is_null, from_pandas=False))
    assert columns.numbers(values[::2]).to_pylist()[2:] == values[::2].tolist()[2:]
    assert columns.numbers(np.array([], np.int64)).equals(pa.array([], pa.int64()))
    assert columns.texts(["a", "", "é\U0001f331"]).equals(pa.array(["a", "", "é\U0001f331"]))
    assert columns.lists([(2, 3), (), (4,)]).equals(pa.array([[2, 3], [], [4]]))
    parts = [b"ab", b"", b"\0c"]
    assert columns.blobs(parts).equals(pa.array(parts))
    # More than an offset of 32 bits can say is left to pyarrow, which makes chunks.
    monkeypatch.setattr(columns, "_MOST_BYTES", 3)
    assert columns.blobs(parts).to_pylist() == parts


@pytest.mark.parametrize("encode", [lambda: encode_arrays(ARRAYS), lambda: seal({"a": [1, 2.5, "x"], "b": {}})])
def test_no_truncation_and_no_flipped_bit_goes_unnoticed(encode, tmp_path):
    path, content = tmp_path / "file", encode()
    digest = files.write_file(path, content)
    damaged = [content[:length] for length in range(0, len(content), 7)]
    rng = np.random.default_rng(0)
    for _ in range(500):
        flipped = bytearray(content)
        flipped[rng.integers(len(content))] ^= 1 << rng.integers(8)
        damaged.append(bytes(flipped))
    for wrong in damaged:
        path.write_bytes(wrong)
        with pytest.raises(CorruptFileError, match="file"):
            files.read_file(path, digest)


@pytest.mark.parametrize("most", [1, 3, 6, 7, 100])
def test_a_file_that_a_system_gives_in_pieces_or_that_has_grown_is_read_to_its_end(most, tmp_path, monkeypatch):
    read, path = os.read, tmp_path / "file"
    for content in (b"", b"abcdef"):
        path.write_bytes(content)
        for size in (0, 3, 6):
            with open(path, "rb") as stream:
                monkeypatch.setattr(os, "read", lambda descriptor, wanted: read(descriptor, min(wanted, most)))
                assert files._rest_of(stream.fileno(), size) in (content, content[:size])
                monkeypatch.undo()
        monkeypatch.setattr(os, "read", lambda descriptor, wanted: read(descriptor, min(wanted, most)))
        assert files.read_file(path) == content
        monkeypatch.undo()


def test_a_sealed_record_checks_itself(tmp_path):
    content = seal({"step": 10})
    assert unseal(content, tmp_path) == {"step": 10}
    for wrong in (content.replace(b"10", b"11"), content[:-3], b"", b"[]", b"null", b"\xff"):
        with pytest.raises(CorruptFileError):
            unseal(wrong, tmp_path)


def test_every_flipped_bit_of_a_sealed_record_is_noticed(tmp_path):
    content = seal({"step": 10, "name": "a"})
    for place in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises(CorruptFileError):
            unseal(bytes(flipped), tmp_path)


def test_a_damaged_parquet_file_is_a_corrupt_file(tmp_path):
    with pytest.raises(CorruptFileError, match="whole Parquet"):
        decode_table(encode_arrays(ARRAYS)[:-9], tmp_path)


def test_a_file_is_synced_before_it_is_renamed_and_its_folder_after(tmp_path, monkeypatch):
    done = []
    fsync, rename = os.fsync, os.rename

    def synced(descriptor):
        done.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def renamed(source, target):
        done.append(("rename", str(target)))
        rename(source, target)

    monkeypatch.setattr(files.os, "fsync", synced)
    monkeypatch.setattr(files.os, "rename", renamed)
    files.write_file(tmp_path / "file", b"content")
    (first, second, third) = done
    assert first[0] == "sync"
    assert first[1].endswith(".tmp")
    assert second == ("rename", str(tmp_path / "file"))
    assert third == ("sync", str(tmp_path))


def test_a_folder_and_the_parents_made_for_it_are_each_synced_into_theirs(tmp_path, monkeypatch):
    done, fsync = [], os.fsync

    def synced(descriptor):
        done.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(files.os, "fsync", synced)
    files.make_folder(tmp_path / "a" / "b" / "c", is_shared=False)
    assert done == [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")]
    files.make_folder(tmp_path / "a" / "b" / "c", is_shared=False)
    assert len(done) == 3


def test_a_flipped_bit_of_a_page_is_noticed_by_the_table_itself():
    content = encode_arrays({"a": np.arange(4000, dtype=np.float32)})
    rng, num_noticed = np.random.default_rng(0), 0
    for _ in range(60):
        flipped = bytearray(content)
        # The pages of the column with the data, whose values any bit changes.
        flipped[rng.integers(len(content) // 4, 3 * len(content) // 4)] ^= 1 << rng.integers(8)
        with pytest.raises(CorruptFileError, match="whole Parquet"):
            decode_table(bytes(flipped), Path("file"))
        num_noticed += 1
    assert num_noticed == 60


def test_a_claim_is_synced_into_its_folder_and_is_of_one_alone(tmp_path, monkeypatch):
    done, fsync = [], os.fsync
    monkeypatch.setattr(
        files.os, "fsync", lambda number: (done.append(os.readlink(f"/proc/self/fd/{number}")), fsync(number))
    )
    assert files.create_exclusively(tmp_path / "attempt")
    assert done == [str(tmp_path)]
    assert not files.create_exclusively(tmp_path / "attempt")


def test_a_write_that_fails_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch):
    files.write_file(tmp_path / "file", b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_file(tmp_path / "file", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"old"}
