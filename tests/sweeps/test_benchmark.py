"""The sweeps of the benchmark: what is tested was not trained on, and is otherwise the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pipeline.spec.sweep import load_spec

FOLDER = Path(__file__).resolve().parents[2] / "sweeps" / "benchmark"
TRAINING = {path.stem: load_spec(path) for path in FOLDER.glob("*.yaml") if not path.stem.endswith("_test")}
TESTING = {path.stem.removesuffix("_test"): load_spec(path) for path in FOLDER.glob("*_test.yaml")}
FREE = {"name", "description", "seeds", "snapshots"}


def seeds_of(spec):
    return {seed for pair in spec.seeds.pairs() for seed in pair}


def dumped(spec):
    """A spec without what may differ between training and test; random settings without the seed of their draws."""
    values = spec.model_dump(mode="json", exclude=FREE)
    return values | {"vary": [{**factor, "seed": None} if "random" in factor else factor for factor in values["vary"]]}


def test_every_sweep_has_its_test():
    assert TRAINING.keys() == TESTING.keys()
    assert len(TRAINING) >= 8
    assert sum(len(spec.runs()) for specs in (TRAINING, TESTING) for spec in specs.values()) >= 20_000


@pytest.mark.parametrize("name", TRAINING)
def test_a_test_differs_in_seeds_and_in_the_draw_of_settings_alone(name):
    assert dumped(TRAINING[name]) == dumped(TESTING[name])
    assert {run.run_id for run in TRAINING[name].runs()}.isdisjoint(run.run_id for run in TESTING[name].runs())


def test_no_seed_is_shared_by_training_and_test():
    trained = set.union(*map(seeds_of, TRAINING.values()))
    tested = set.union(*map(seeds_of, TESTING.values()))
    assert max(trained) < 100_000 <= min(tested)


@pytest.mark.parametrize("name", TRAINING)
def test_weights_are_kept_at_the_windows_and_of_tests_whole_states(name):
    budget = TRAINING[name].budget
    steps = tuple(budget * share // 100 for share in (0, 5, 10, 25, 50))
    assert budget % 20 == 0
    assert TRAINING[name].steps(budget).snapshots["weights"] == TESTING[name].steps(budget).snapshots["states"] == steps


def test_the_runs_of_every_sweep_are_those_of_splits_json():
    splits = {
        name + suffix: hashlib.sha256("\n".join(sorted(run.run_id for run in spec.runs())).encode()).hexdigest()
        for specs, suffix in ((TRAINING, ""), (TESTING, "_test"))
        for name, spec in specs.items()
    }
    assert splits == json.loads((FOLDER / "splits.json").read_text(encoding="utf-8"))
