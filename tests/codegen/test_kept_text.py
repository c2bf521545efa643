"""C++ that was written from classes of this package is kept for other processes; what a user wrote is not."""

from __future__ import annotations

import pytest

from pipeline.codegen import generated
from pipeline.codegen import kept_text as kept
from pipeline.codegen.generated import generated_task_or_why
from pipeline.codegen.kept_text import is_ours, kept_text
from pipeline.models.attention_only import AttentionOnly
from pipeline.tasks.dataset import Dataset
from pipeline.tasks.sparse_parity import SparseParity
from tests.support import SOURCES, drop_in


class Own(AttentionOnly):
    """A model that a user derived from ours."""


@pytest.fixture
def writes(monkeypatch, tmp_path):
    """A function that writes a text, and counts how often it is called, with a cache folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls = []

    def write():
        calls.append(None)
        return f"text {len(calls)}"

    return write


def test_a_text_is_written_once_for_an_identity_and_a_version_of_this_package(writes, monkeypatch):
    assert [kept_text(one, writes) for one in ("a", "a", "b", "a")] == ["text 1", "text 1", "text 2", "text 1"]
    monkeypatch.setattr(kept, "_code", lambda: "other")
    assert kept_text("a", writes) == "text 3"
    monkeypatch.setattr(kept.torch, "__version__", "other")
    assert kept_text("a", writes) == "text 4"


def test_those_of_tasks_are_too_also_where_torch_draws_their_examples(writes, monkeypatch):
    tasks = SparseParity.tiny(), Dataset.tiny()
    first = [generated_task_or_why.__wrapped__(task, "float64") for task in tasks]
    monkeypatch.setattr(generated, "_written_task", None)
    assert [generated_task_or_why.__wrapped__(task, "float64") for task in tasks] == first
    assert [bool(one.why_drawn) for one in first] == [False, True]


def test_one_that_was_damaged_is_written_again(writes, tmp_path):
    kept_text("a", writes)
    (file,) = (tmp_path / "seedbed").glob("text-*.h")
    file.write_bytes(file.read_bytes().replace(b"text 1", b"tent 1"))
    assert [kept_text("a", writes), kept_text("a", writes)] == ["text 2", "text 2"]


def test_where_none_can_be_kept_it_is_written_each_time(writes, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(kept, "keep", full)
    assert [kept_text("a", writes), kept_text("a", writes)] == ["text 1", "text 2"]


def test_a_class_of_ones_own_is_not_of_this_package_wherever_its_file_stands(monkeypatch, tmp_path):
    assert is_ours(AttentionOnly())
    assert not is_ours(Own())
    flat = drop_in(monkeypatch, tmp_path, "model", "flat", SOURCES["pipeline/models/flat.py"])
    assert flat.__module__ == "pipeline.models.flat"
    assert not is_ours(flat())
