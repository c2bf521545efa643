"""Claims on fates, other settings and Adam's eps: judged rightly on planted sweeps, and drawn."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from analysis.claims.claims import DOES_NOT, HOLDS
from analysis.claims.sweeps import JudgedSweep, Sweeps, UndecidedError
from benchmarks.landscape.tables import TABLES
from pipeline.spec.sweep import load_spec
from pipeline.store.history import History, RunEnd, RunInfo
from sweeps.landscape.adam.figures import adam_epsilon
from sweeps.landscape.adam.measures import phases_by_epsilon
from sweeps.landscape.captions import landscape_caption
from sweeps.landscape.claims import CLAIMS, FIGURES
from sweeps.landscape.details import details
from sweeps.landscape.fates.details import details_of_all_fates
from sweeps.landscape.fates.measures import exchange, forked_fates
from sweeps.landscape.fates.study import EXCHANGED, FIRST_FATES, FURTHER_FATES, PARTS
from sweeps.landscape.measures import Factorial
from sweeps.landscape.settings.measures import merged_factors
from sweeps.landscape.settings.study import OF_SEVEN, OTHER_SETTINGS
from sweeps.landscape.study import GROUPS, ORDINARY, STUDY
from tests.papers.landscape.planted import judged_sweeps, recorded

HERE = Path(__file__).resolve().parent
NUM_PARENTS = 16
FORK_STEPS, EXCHANGE_STEPS = (0, 50, 100, 200, 300, 400, 600, 800), (0, 100, 200, 300, 400, 600)
FAST, SLOW = 800, 1600
PARENT_TIMES = np.concatenate([np.full(8, FAST), np.full(8, SLOW)]) + 10 * np.arange(16)


def parents():
    ids = [pair.fast for pair in EXCHANGED] + [pair.slow for pair in EXCHANGED]
    runs = [RunInfo(run_id, "s", 300 + p, 120, {}) for p, run_id in enumerate(ids)]
    return recorded("fate_parents", runs, PARENT_TIMES, 2700)


def further_parents():
    runs = [RunInfo(f"more-{p}", "s", 400 + p, 120, {}) for p in range(3 * NUM_PARENTS)]
    return recorded("more_parents", runs, np.tile(PARENT_TIMES, 3), 2700)


def forks(fixed_from, num=12, seed=0, name="fates", of=None):
    """Forks of all parents, which have their parent's time from a step on and any other's before."""
    rng = np.random.default_rng(seed)
    runs, times = [], []
    for p, parent in enumerate((of or parents()).runs):
        for step in FORK_STEPS:
            for n in range(num):
                seeds = (parent.init_seed, 6000 + n)
                runs.append(RunInfo(f"{parent.run_id}-{step}-{n}", f"s{step}", *seeds, {}, parent.run_id, step))
                own = PARENT_TIMES[p % NUM_PARENTS]
                times.append(own if step >= fixed_from else PARENT_TIMES[rng.integers(NUM_PARENTS)])
    return recorded(name, runs, times, 2700)


def exchange_of(pair, effects_of, noise=0.02, seed=0):
    """Mixtures of a pair whose log times are log 1,100 less these effects: sets of parts -> coefficient, by step."""
    rng = np.random.default_rng(seed)
    runs, times = [], []
    for step in EXCHANGE_STEPS:
        for place in range(2 ** len(PARTS)):
            level_G = [1 - 2 * (place >> g & 1) for g in range(len(PARTS))]
            taken = {name: pair.slow for g, names in enumerate(PARTS.values()) if place >> g & 1 for name in names}
            log_time = np.log(1100) - sum(
                value * np.prod([level_G[g] for g in at]) for at, value in effects_of(step).items()
            )
            for n in (0, 1):
                runs.append(RunInfo(f"{step}-{place}-{n}", "s", 1, n, {}, pair.fast, step, taken))
                times.append(np.exp(log_time + noise * rng.standard_normal()))
    return recorded(pair.name, runs, times, 2700)


def exchanges_with(effects_of):
    return [exchange_of(pair, effects_of, seed=seed) for seed, pair in enumerate(EXCHANGED)]


def apart_and_together(step):
    """Interactions alone at first; later mixtures are slower than both runs."""
    return {(0, 1): 0.2, (2, 3): 0.2, (1,): 0.05} if step == 0 else {(0, 1): 0.3, (1, 2): 0.3, (0,): 0.15}


def verdicts(sweeps, *figures):
    return {
        claim.name: claim.verdict
        for claim in CLAIMS.judged(sweeps)
        if claim.claim.figure in figures and claim.evidence is not None
    }


def test_fates_that_are_fixed_early_are_told_from_those_that_are_not():
    names = ("fates_are_sealed_early", "state_fixes_time")
    early, late = (verdicts(judged_sweeps(parents(), forks(step)), "commitment") for step in (100, 600))
    assert early == dict.fromkeys(names, HOLDS)
    assert late == dict.fromkeys(names, DOES_NOT)


def test_further_parents_are_judged_by_themselves_and_shown_with_the_first_ones():
    further = further_parents()
    names = ("two_thirds_are_sealed_early", "state_fixes_time_again")
    early, late = (judged_sweeps(further, forks(step, num=6, name="more_fates", of=further)) for step in (100, 600))
    assert verdicts(early, "commitment") == dict.fromkeys(names, HOLDS)
    assert verdicts(late, "commitment") == dict.fromkeys(names, DOES_NOT)
    both = Sweeps(dict(early) | dict(judged_sweeps(parents(), forks(300))))
    found = forked_fates(both, (FIRST_FATES, FURTHER_FATES))
    assert (found.num_forks, found.early_PS.shape) == (6, (4 * NUM_PARENTS, len(FORK_STEPS)))
    assert np.all(np.diff(found.time_P) >= 0)
    steps = np.array([time.value for time in found.commit_times()])
    assert (steps <= 200).mean() == pytest.approx(0.75, abs=0.06)
    part = details_of_all_fates(both)
    assert [part["committed from this step or before"][s][0] for s in (3, -1)] == [(steps <= 200).mean(), 1]
    assert "64 parents, 6 forks of each at a step." in TABLES["all commits"][1](part)


def test_parents_commit_at_the_step_from_which_their_forks_agree():
    found = forked_fates(judged_sweeps(parents(), forks(300)))
    assert [time.value for time in found.commit_times()] == [300] * NUM_PARENTS
    assert np.array_equal(found.early_PS[:, -1], [1] * 8 + [0] * 8)
    assert found.variance(800).init.value > 0.99 > 0.5 > found.variance(0).init.value
    never = forked_fates(judged_sweeps(parents(), forks(5000)))
    assert np.isnan([time.value for time in never.commit_times()]).sum() > 8


def test_forks_of_unequal_numbers_are_undecided():
    history = forks(100)
    columns = {"label_accuracy": history.values["label_accuracy"][:-1]}
    fewer = History("fates", 2700, history.runs[:-1], history.ends[:-1], history.steps_T, columns)
    with pytest.raises(UndecidedError, match="unequal numbers"):
        forked_fates(judged_sweeps(parents(), fewer))


def test_what_mixtures_take_their_time_from_is_found_by_step():
    names = (
        *("initial_mixtures_interact", "fate_does_not_move_into_embeddings", "late_mixtures_interact"),
        "mixtures_grow_slower",
    )
    together = judged_sweeps(parents(), *exchanges_with(apart_and_together))
    assert verdicts(together, "mixtures") == dict.fromkeys(names, HOLDS)
    alone = judged_sweeps(parents(), *exchanges_with(lambda step: {(0,): 0.3, (1, 2): 0.05 if step else 0.08}))
    assert verdicts(alone, "mixtures") == dict.fromkeys(names, DOES_NOT)


def test_an_exchange_with_holes_is_undecided_and_places_follow_what_was_taken():
    history = exchange_of(EXCHANGED[0], lambda _: {(0,): 0.4}, noise=0)
    found = exchange(history, EXCHANGED[0])
    assert np.exp(found.at(0)[0, :4]) == pytest.approx(1100 * np.exp([-0.4, 0.4, -0.4, 0.4]), rel=0.05)
    columns = {"label_accuracy": history.values["label_accuracy"][1:]}
    fewer = History("x", 2700, history.runs[1:], history.ends[1:], history.steps_T, columns)
    with pytest.raises(UndecidedError, match="1 mixtures were not trained"):
        exchange(fewer, EXCHANGED[0])


def test_exchanges_take_every_subset_of_parts_from_the_slow_run():
    sweeps = {sweep.name: sweep for sweep in STUDY.of_profile("full")}
    spec = load_spec(sweeps["exchange_2"].path, sweeps["exchange_2"].overrides("full"))
    taken = [set(changes.get("weights", {})) for changes in spec.fork.each_changes]
    assert len(taken) == len({frozenset(names) for names in taken}) == 2 ** len(PARTS)
    assert taken[-1] == {name for names in PARTS.values() for name in names}
    parent_ids = [run.run_id for run in load_spec(sweeps["fate_parents"].path).runs()]
    assert spec.fork.runs == (parent_ids[1],)
    assert {run for changes in spec.fork.each_changes for run in changes.get("weights", {}).values()} == {parent_ids[9]}


def of_setting(setting, coefficients, noise=0.05):
    """Factorials of a setting's pairs, with these coefficients."""
    histories = []
    for seed, pair in enumerate(setting.judged_pairs):
        groups, runs, times, rng = tuple(setting.groups.values()), [], [], np.random.default_rng(seed)
        for place in range(2 ** len(groups)):
            level_G = [1 - 2 * (place >> g & 1) for g in range(len(groups))]
            drawn = {
                f"streams.init/{name}": pair.first if level > 0 else pair.second
                for level, names in zip(level_G, groups, strict=True)
                for name in names
            }
            effect = sum(value * np.prod([level_G[g] for g in at]) for at, value in coefficients.items())
            for n in (102, 103):
                runs.append(RunInfo(f"{place}-{n}", f"s{place}", 0, n, drawn))
                times.append(1000 * np.exp(effect + noise * rng.standard_normal()))
        histories.append(of_metric(recorded(pair.name, runs, times, 2700, 25), setting.criterion.metric))
    return histories


def of_metric(history, metric):
    """The same convergence in another metric, which falls."""
    if metric == "label_accuracy":
        return history
    values = {metric: 1 - history.values["label_accuracy"]}
    return History(history.name, history.budget, history.runs, history.ends, history.steps_T, values)


@pytest.mark.parametrize("setting", OTHER_SETTINGS, ids=lambda setting: setting.name)
def test_shares_of_other_settings_are_those_of_their_own_factorials(setting):
    together = judged_sweeps(*of_setting(setting, {(0, 1, 2): 0.3, (1, 3): 0.2, (0,): 0.1}))
    alone = judged_sweeps(*of_setting(setting, {(g,): 0.2 for g in range(4)}))
    names = [name for name in CLAIMS.claims if name.startswith(f"{setting.name}_")]
    assert list(verdicts(together, "settings").items()) == [(name, HOLDS) for name in names]
    assert list(verdicts(alone, "settings").values()) == [HOLDS, DOES_NOT, DOES_NOT]
    noisy = judged_sweeps(*of_setting(setting, {(0, 1): 0.002}, noise=0.4))
    # Of what does not return there are no orders.
    assert [verdict != HOLDS for verdict in verdicts(noisy, "settings").values()] == [True]
    fewer = judged_sweeps(*of_setting(setting, {(0, 1): 0.2})[:2])
    assert verdicts(fewer, "settings") == {}


def test_the_first_pairs_of_a_setting_are_not_judged_where_there_are_later_ones():
    first, later = {pair.name for pair in OTHER_SETTINGS[0].pairs[:4]}, OTHER_SETTINGS[0].judged_pairs
    assert len(later) == OTHER_SETTINGS[0].num_later == 12
    assert not first & {pair.name for pair in later}
    assert OTHER_SETTINGS[3].judged_pairs == OTHER_SETTINGS[3].pairs


def test_merged_factors_are_those_combinations_in_which_they_agree():
    values_DC = np.arange(256, dtype=float).reshape(2, 128)
    found = merged_factors(Factorial(ORDINARY[0], tuple(GROUPS), values_DC, 0), OF_SEVEN)
    assert found.factors[0] == "embedding, position"
    assert found.values_DC[0, :4].tolist() == [0, 3, 4, 7]
    assert found.values_DC[1, -1] == 255
    assert found.values_DC.shape == (2, 32)


def by_epsilon(first_phase_from, small_error_from=90):
    """Runs whose rare features go through the phases from this eps on, and else never lose the dominant weight."""
    steps = np.arange(0, 101, 10)
    epsilons, runs, columns = (1e-8, 1e-5, 1e-2, 1e2), [], {}
    for eps in epsilons:
        for seed in range(8):
            given = {"optimiser.eps": eps, "optimiser.lr": 1.0, "optimiser.name": "adamw", "task.num_features": 3}
            runs.append(RunInfo(f"{eps}-{seed}", f"s{eps}", seed, seed, given))
    for k in (1, 2, 3):
        rows = {name: [] for name in ("own_weight", "first_weight", "feature_loss", "feature_attention")}
        for run in runs:
            falls = run.hyperparameters["optimiser.eps"] >= first_phase_from
            rows["own_weight"].append(3.0 * np.maximum(steps - 30, 0) / 70)
            rows["first_weight"].append(-np.minimum(steps, 30) / 30 * (1.0 if falls else 0.0))
            rows["feature_loss"].append(np.where(steps >= small_error_from, 0.001, 0.5))
            rows["feature_attention"].append(np.full(len(steps), 0.5))
        columns |= {f"{name}.k{k}": np.array(values) for name, values in rows.items()}
    ends = tuple(RunEnd("budget", 100) for _ in runs)
    return History("adam_epsilon", 100, tuple(runs), ends, steps, columns)


def test_the_first_phase_is_found_from_the_eps_on_at_which_it_was_planted():
    names = ("large_eps_has_the_first_phase", "small_eps_takes_the_first_phase_away")
    assert verdicts(judged_sweeps(by_epsilon(1e-2)), "adam_epsilon") == dict.fromkeys(names, HOLDS)
    assert verdicts(judged_sweeps(by_epsilon(1e9)), "adam_epsilon") == dict.fromkeys(names, DOES_NOT)
    (layer,) = adam_epsilon(judged_sweeps(by_epsilon(1e-2))).chart.to_dict()["layer"][:1]
    assert layer["encoding"]["x"]["axis"]["values"] == [1e-8, 1e-6, 1e-4, 1e-2, 1, 1e2]
    found = phases_by_epsilon(judged_sweeps(by_epsilon(1e-2)))
    assert found.middle_B()[0] == pytest.approx(-3.5)
    assert [found.share(eps, 3).value for eps in found.epsilons] == [0, 0, 1, 1]
    assert np.isnan(phases_by_epsilon(judged_sweeps(by_epsilon(1e9))).middle_B()[0])
    out_of_order = phases_by_epsilon(judged_sweeps(by_epsilon(1e-2, small_error_from=40)))
    assert [out_of_order.share(1e2, j).value for j in range(4)] == [1, 1, 1, 0]


def test_figures_are_drawn_and_details_have_every_part():
    histories = [
        *(history for setting in OTHER_SETTINGS for history in of_setting(setting, {(0, 1, 2): 0.3, (1, 3): 0.2}))
    ]
    histories += [parents(), forks(200, num=3), *exchanges_with(apart_and_together), by_epsilon(1e-2)]
    sweeps = judged_sweeps(*histories)
    own = [draw for draw in FIGURES if draw.__module__.split(".")[2] in ("fates", "settings", "adam")]
    assert [figure(sweeps).name for figure in own] == ["commitment", "mixtures", "settings", "adam_epsilon"]
    found = json.loads(json.dumps(details(sweeps)))
    known = [at for at in TABLES.items() if "not there" not in found[at[1][0]]]
    tables = {name: table(found[part]) for name, (part, table) in known}
    assert len(tables["commits"].splitlines()) == 2 + NUM_PARENTS
    assert len(tables["exchanges"].splitlines()) == 2 + len(EXCHANGE_STEPS)
    assert len(tables["settings"].splitlines()) == 2 + len(OTHER_SETTINGS)
    assert len(tables["epsilons"].splitlines()) == 2 + 4 + 2


def test_captions_name_commits_of_this_history_alone_and_join_numbered_sweeps():
    history = parents()
    named = {f"pair_{n}": JudgedSweep(history, None, {"git_commit": "0123456789ab-dirty"}) for n in (1, 2, 3, 5)}
    lines = landscape_caption(Sweeps(named), list(named), "What is seen.")
    assert lines[0] == "What is seen."
    assert " ".join(lines[1:]) == (
        "pair_1 to pair_3, pair_5: 16 runs each of 2,700 steps. "
        "Sweeps without a commit are of code that stands in this history in another form."
    )
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, cwd=HERE).stdout
    if head:
        known = {"x": JudgedSweep(history, None, {"git_commit": head.strip()[:12]})}
        assert landscape_caption(Sweeps(known), ["x"])[0] == f"x: 16 runs of 2,700 steps, commit {head[:12]}."
        changed = {"x": JudgedSweep(history, None, {"git_commit": f"{head.strip()}-dirty"})}
        assert landscape_caption(Sweeps(changed), ["x"])[0].startswith("x: 16 runs of 2,700 steps. Sweeps without")
