"""A launch that is asked to stop leaves Ray Tune once the packs that train have committed, and not before."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pipeline.launch.ray_leaving import LeftError, leaver_of
from tests.support import opened, tiny

TUNE = SimpleNamespace(Callback=object)


def ended(pack_id, error=None):
    return SimpleNamespace(config={"pack_id": pack_id}, get_error=lambda: error)


@pytest.fixture
def store(tmp_path):
    """A sweep of two packs, of which one was tried before."""
    store = opened(tiny(resources={"slots": 2}), tmp_path / "r", num_workers=2)
    store.pack(store.pack_ids()[0]).claim_attempt()
    return store


def test_packs_that_have_begun_are_waited_for_and_those_that_have_not_are_not(store):
    first, second = store.pack_ids()
    leaver = leaver_of(TUNE, store, [first, second])
    leaver.on_step_end(0, [])
    store.pack(first).claim_attempt()
    leaver.on_step_end(0, [])
    store.stop_file.touch()
    leaver.on_step_end(0, [])
    leaver.on_trial_complete(0, [], ended(first))
    with pytest.raises(LeftError):
        leaver.on_step_end(0, [])
    # A worker that had looked for the stop file before it was there.
    store.pack(second).claim_attempt()
    leaver.on_step_end(0, [])
    leaver.on_trial_error(0, [], ended(second, "died"))
    assert leaver.errors == {second: "died"}
    with pytest.raises(LeftError):
        leaver.on_step_end(0, [])


def test_without_being_asked_a_launch_goes_on_to_its_end(store):
    leaver = leaver_of(TUNE, store, store.pack_ids())
    for pack_id in store.pack_ids():
        leaver.on_trial_complete(0, [], ended(pack_id))
        leaver.on_step_end(0, [])
