"""A search is one sweep that grows: the same settings by its seed, however often it was interrupted."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

from pipeline.launch import searchers
from pipeline.launch.bohb import BY_SEEDS, BohbSearcher
from pipeline.launch.searchers import OBJECTIVE, open_searcher
from pipeline.spec.search import Search, suggested, with_settings
from sweeps.command.settings.found import Trial, audit_of, audit_text, best_first
from sweeps.command.settings.searching import IncompleteError, Rounds
from tests.support import tiny

SPACE = {"optimiser.lr": {"uniform": [0.0, 1.0]}, "optimiser.beta2": {"choice": [0.9, 0.99]}}
SPEC = tiny(seeds={"together": [0, 1, 2, 3]})
pytestmark = pytest.mark.usefixtures("fake_searcher")


class Synthetic:
    """Runs whose result is planted: higher the nearer the rate is to .3, and higher by .01 for each seed.

    Trained are the runs that were asked for; only those can be judged.
    """

    def __init__(self, spec=SPEC, fails_after=math.inf):
        self.spec, self.trained, self.fails_after = spec, {}, fails_after

    def train(self, settings, run_ids):
        if len(self.trained) + len(run_ids) > self.fails_after:
            return 3
        for config in with_settings(self.spec, settings).runs():
            if config.run_id in run_ids:
                rate = config.setting.optimiser.lr
                self.trained.setdefault(config.run_id, -abs(rate - 0.3) + 0.01 * config.init_seed)
        return 0

    def judge(self, run_ids):
        return float(np.mean([self.trained[run_id] for run_id in run_ids]))


def searched(num_rounds, sweep=None, done=(), **changes):
    search = Search.model_validate(
        {"space": SPACE, "rounds": num_rounds, "settings_per_round": 4, "objective": "label_loss", **changes}
    )
    sweep = sweep or Synthetic()
    rounds = Rounds(search, sweep.spec, open_searcher(search), sweep.train, sweep.judge)
    for number in range(num_rounds):
        rounds.run(number, done[number] if number < len(done) else None)
    return rounds, sweep


def test_a_search_comes_near_the_best_setting():
    rounds, sweep = searched(8)
    best = best_first(rounds.tried)[0]
    assert abs(best.setting["optimiser.lr"] - 0.3) < 0.05
    assert best.num_seeds == 4
    assert len(sweep.trained) == 8 * 4 * 4


def test_told_results_bring_a_search_back_to_where_it_was():
    whole, _ = searched(4)
    kept = [[Trial.from_json(json.loads(json.dumps(one.to_json()))) for one in trials] for trials in whole.tried[:2]]
    resumed, sweep = searched(4, done=kept)
    assert resumed.tried == whole.tried
    assert resumed.searcher.told == whole.searcher.told
    # Only what was not done is trained.
    assert len(sweep.trained) == 2 * 4 * 4
    assert searched(4, seed=1)[0].tried != whole.tried


def test_rounds_of_another_search_are_refused():
    other, _ = searched(1, seed=1)
    with pytest.raises(Exception, match="suggests other settings"):
        searched(2, done=other.tried)


def test_a_round_that_is_cut_off_is_not_told_and_the_same_comes_again():
    sweep = Synthetic(fails_after=20)
    with pytest.raises(IncompleteError) as stopped:
        searched(2, sweep)
    assert stopped.value.code == 3
    sweep.fails_after = math.inf
    assert searched(2, sweep)[0].tried == searched(2)[0].tried


def test_settings_that_are_suggested_twice_are_trained_once():
    space = {"optimiser.beta2": {"choice": [0.9, 0.99]}}
    rounds, sweep = searched(3, space=space)
    assert len(sweep.trained) == 2 * 4
    by_setting = {}
    for one in (one for trials in rounds.tried for one in trials):
        by_setting.setdefault(one.setting["optimiser.beta2"], set()).add(one.value)
    assert {len(values) for values in by_setting.values()} == {1}
    assert len(rounds.searcher.told) == 12


def test_invalid_suggestions_are_told_as_errors_and_not_trained():
    space = {"optimiser.lr": {"uniform": [0.1, 0.2]}, "optimiser.beta2": {"choice": [0.9, 7.0]}}
    rounds, _ = searched(3, space=space)
    tried = [one for trials in rounds.tried for one in trials]
    assert 0 < sum(one.setting is None for one in tried) < 12
    assert [error for _, _, error in rounds.searcher.told] == [one.setting is None for one in tried]
    assert suggested(SPEC, {"optimiser.lr": 0.1234567890123456}) == {"optimiser.lr": 0.123456789012}


def test_a_race_gives_the_best_all_seeds_and_the_others_the_first():
    race = {"first": 2, "keep": 0.5, "audit": 0.0}
    rounds, sweep = searched(3, race=race)
    for trials in rounds.tried:
        first = sorted((one.first for one in trials), reverse=True)
        assert [one.kept for one in trials] == [one.first >= first[1] for one in trials]
        assert [one.num_seeds for one in trials] == [4 if one.kept else 2 for one in trials]
        assert all(one.value == one.first for one in trials if not one.kept)
    assert len(sweep.trained) == 3 * (2 * 4 + 2 * 2)


def test_a_race_changes_no_run_of_another_setting():
    without, whole = searched(1)
    raced, part = searched(1, race={"first": 1, "keep": 0.25, "audit": 0.0})
    assert part.trained.items() < whole.trained.items()
    for one, other in zip(raced.tried[0], without.tried[0], strict=True):
        assert one.setting == other.setting
        assert not one.kept or one.value == other.value


def test_the_audit_tells_what_a_race_loses():
    """First seeds that mislead: the seed turns the order around, so that the race keeps the worst."""

    class Misleading(Synthetic):
        def judge(self, run_ids):
            return super().judge(run_ids) * (-1 if len(run_ids) == 1 else 1)

    race = {"first": 1, "keep": 0.25, "audit": 1.0}
    audit = audit_of(searched(3, Misleading(), race=race)[0].tried)
    assert (audit.num_pruned, audit.num_audited) == (9, 9)
    assert audit.share_better.value == 1
    assert audit.regret > 0.01
    honest = audit_of(searched(3, race=race)[0].tried)
    assert (honest.share_better.value, honest.regret) == (0, 0)
    # Drawn by a hash of the setting alone.
    some = [one for trials in searched(20, race=race | {"audit": 0.3})[0].tried for one in trials if not one.kept]
    assert 0.1 < np.mean([one.audited for one in some]) < 0.5
    assert {one.num_seeds for one in some if one.audited} == {4}


def test_audited_settings_that_cannot_be_compared_are_told_apart_from_those_that_lost():
    def trial(kept, value):
        return Trial({"optimiser.lr": 0.1}, 0.5, kept, not kept, 4, value)

    rounds = [[trial(True, 0.5), trial(False, 0.75), trial(False, None)], [trial(True, None), trial(False, 0.9)]]
    audit = audit_of(rounds)
    assert (audit.num_pruned, audit.num_audited, audit.num_without_value) == (3, 3, 2)
    assert (audit.share_better.value, audit.regret) == (1, 0.25)
    assert re.search(
        r"3 of them got all seeds by chance: .* of 1 beat the best kept.*; 2 not compared", audit_text(audit)
    )
    none = audit_text(audit_of([[trial(True, 0.5), trial(False, None)]]))
    assert none == (
        "race: 1 settings were not among the best; 1 of them got all seeds by chance; 1 not compared, without a value "
        "or beside kept settings without one"
    )


class Planted(Synthetic):
    """Runs that are better the nearer the rate is to `best`, and better by a second for the larger beta2."""

    def __init__(self, best):
        super().__init__()
        self.best = best

    def train(self, settings, run_ids):
        for config in with_settings(self.spec, settings).runs():
            optimiser = config.setting.optimiser
            self.trained[config.run_id] = (optimiser.beta2 == 0.99) - 5 * abs(optimiser.lr - self.best)
        return 0


@pytest.mark.parametrize("name", ["optuna", "hyperopt", "bohb"])
def test_every_searcher_learns_from_its_results_and_draws_by_its_seed(monkeypatch, name):
    for package in REAL[name].packages:
        pytest.importorskip(package)
    monkeypatch.setitem(searchers.SEARCHERS, "optuna", REAL["optuna"])

    def rates(best, num_rounds=12):
        rounds, _ = searched(num_rounds, Planted(best), searcher=name, race={"first": 1, "keep": 0.5, "audit": 0.2})
        return rounds, [one.setting["optimiser.lr"] for trials in rounds.tried for one in trials]

    np.random.seed(5)
    low, of_low = rates(0.1)
    _, of_high = rates(0.9)
    # The same until they have learned something, then drawn to where the results are good.
    assert of_low[:4] == of_high[:4]
    assert np.mean(of_low[28:]) < np.mean(of_high[28:]) - 0.2
    assert {one.setting["optimiser.beta2"] for trials in low.tried for one in trials} == {0.9, 0.99}
    assert all(type(one.setting["optimiser.beta2"]) is float for trials in low.tried for one in trials)
    np.random.seed(6)
    assert rates(0.1, 7)[0].tried == low.tried[:7]


class FakeBohb:
    """Suggests what numpy's global generator draws, as hpbandster does, and keeps what it is told."""

    def __init__(self):
        self.told = []

    def suggest(self, trial_id):
        return {"optimiser.lr": np.float64(np.random.rand()), "optimiser.beta2": np.int64(np.random.randint(2))}

    def on_trial_result(self, trial_id, result):
        self.told.append((trial_id, result["objective"], result["hyperband_info"]["budget"]))

    def on_trial_complete(self, trial_id):
        self.told.append(trial_id)


def test_bohb_is_told_every_number_of_seeds_and_draws_by_its_seed_alone():
    space = Search.model_validate({"space": SPACE, "rounds": 1, "settings_per_round": 1}).space
    np.random.seed(0)
    first, second = (BohbSearcher(FakeBohb(), space, 7, OBJECTIVE) for _ in range(2))
    before = np.random.rand()
    drawn = [first.suggest("a"), first.suggest("b")]
    np.random.seed(0)
    assert [second.suggest("a"), np.random.rand(), second.suggest("b")] == [drawn[0], before, drawn[1]]
    assert {type(value) for setting in drawn for value in setting.values()} == {float}
    assert {setting["optimiser.beta2"] for setting in drawn} <= {0.9, 0.99}

    rounds, _ = searched(1, race={"first": 1, "keep": 0.5, "audit": 0.0})
    results = [result for _, result, _ in rounds.searcher.told]
    assert sorted(sorted(result[BY_SEEDS]) for result in results) == [[1], [1], [1, 4], [1, 4]]
    whole = next(result for result in results if len(result[BY_SEEDS]) == 2)
    first.on_trial_complete("a", whole)
    first.on_trial_complete("b", None, True)
    assert first._bohb.told == [("a", whole[BY_SEEDS][1], 1), ("a", whole[OBJECTIVE], 4), "a", "b"]


REAL = dict(searchers.SEARCHERS)
