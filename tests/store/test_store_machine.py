"""The store against a model, under random sequences of commits, crashes, damage and repair."""

from __future__ import annotations

import hashlib
import json
import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from pipeline.store import damage, files, pack_store, sweep_store
from pipeline.store.backends import posix
from pipeline.store.pack_store import PackStore
from tests.store.store_machine import StoreMachine

# `make fuzz` sets this to 500 and more.
_FEW = 12
SEQUENCES = int(os.environ.get("SEEDBED_SEQUENCES", str(_FEW)))
STEPS = 30
QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck), "stateful_step_count": STEPS}


@pytest.mark.timeout(7200)
def test_every_sequence_reads_what_was_acknowledged():
    # The few of `make test` are the same each time; `make fuzz` draws others.
    same = {"derandomize": True, "database": None} if SEQUENCES == _FEW else {}
    run_state_machine_as_test(StoreMachine, settings=settings(max_examples=SEQUENCES, **QUIET, **same))


def no_fence(patch):
    patch.setattr(PackStore, "_refuse_if_fenced", lambda *_: None)


def no_checksum(patch):
    def unchecked(path, sha256=None):
        return files.read_file(path)

    for module in (pack_store, posix, sweep_store, damage):
        if hasattr(module, "read_file"):
            patch.setattr(module, "read_file", unchecked)


def no_generation_before(patch):
    records = PackStore.records
    patch.setattr(PackStore, "records", lambda self: records(self)[:1])


def no_rename(patch):
    def in_place(path, content):
        path.write_bytes(content[: len(content) // 2])
        descriptor = os.open(path, os.O_RDWR)
        os.fsync(descriptor)
        os.close(descriptor)
        path.write_bytes(content)
        files.sync_folder(path.parent)
        return hashlib.sha256(content).hexdigest()

    for module in (posix, sweep_store):
        patch.setattr(module, "write_file", in_place)


def no_names_kept(patch):
    remove = PackStore.remove_unnamed
    patch.setattr(PackStore, "remove_unnamed", lambda self, attempt, kept: remove(self, attempt, kept[:1]))


def no_seal(patch):
    def unsealed(content, path):
        return json.loads(content)["body"]

    for module in (pack_store, posix, sweep_store, damage):
        if hasattr(module, "unseal"):
            patch.setattr(module, "unseal", unsealed)


MUTANTS = [no_fence, no_checksum, no_generation_before, no_rename, no_names_kept, no_seal]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_store_without_one_of_its_guards_is_found_out(mutant, monkeypatch):
    mutant(monkeypatch)
    quick = settings(max_examples=1500, phases=[Phase.generate], **QUIET)
    with pytest.raises(BaseException):  # noqa: B017, PT011 - any failing is a finding
        run_state_machine_as_test(StoreMachine, settings=quick)
