"""Pairs are runs of equal seeds; each counts once, whatever it is censored by, and the effects are b less a."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis.comparisons.arms import Arm, paired
from analysis.comparisons.compare import compare
from analysis.comparisons.folders import compare_folders, compare_settings
from analysis.outcomes.outcomes import DEFAULT_CRITERION, decide_outcomes
from analysis.outcomes.subsets import chosen_runs
from pipeline.store.history import History, RunEnd, RunInfo
from pipeline.store.pack_store import StoreError
from sweeps.cli.__main__ import app
from tests.support import tiny, trained

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "comparisons.md").read_text(encoding="utf-8")
LINES = re.findall(r"^seedbed compare .*$", PAGE, re.M)
STEPS = np.arange(0, 1001, 50)


def arm(name, times, *, rate=0.01, seeds=None, ends=None, **more):
    """An arm whose runs converge at these steps (infinite: not by the budget of 1,000), of seeds 0, 1, ..."""
    seeds = list(range(len(times))) if seeds is None else seeds
    pairs = [seed if isinstance(seed, tuple) else (seed, seed) for seed in seeds]
    runs = tuple(
        RunInfo(f"{name}-{r}", name, init, data, {"optimiser.lr": rate, **more}) for r, (init, data) in enumerate(pairs)
    )
    excess_RT = np.where(np.array(times)[:, None] <= STEPS, 0.001, 0.5)
    ends = [RunEnd("budget", 1000)] * len(runs) if ends is None else ends
    last_R = np.array([end.step for end in ends])
    excess_RT = np.where(last_R[:, None] >= STEPS, excess_RT, np.nan)
    # Losses tell runs apart, so that none are tied.
    loss_RT = excess_RT + np.arange(len(runs))[:, None] * 1e-3 * rate
    history = History(name, 1000, runs, tuple(ends), STEPS, {"label_excess": excess_RT, "label_loss": loss_RT})
    return Arm(name, history, decide_outcomes(history, DEFAULT_CRITERION))


def test_pairs_have_equal_seeds_whatever_the_order_and_the_others_are_counted():
    slow, fast = arm("slow", [900.0] * 4, seeds=[3, 1, 0, 2]), arm("fast", [200.0] * 3, rate=0.1, seeds=[7, 2, 1])
    found = paired(slow, fast)
    assert [run.init_seed for run in found.runs] == [1, 2]
    assert [fast.history.runs[row].data_seed for row in found.b_P] == [1, 2]
    assert found.num_alone == (2, 1)
    assert found.differing == {"optimiser.lr": (0.01, 0.1)}
    assert compare(found).effects["time"].difference.value == -700
    assert "left out: 2 runs of a, 1 of b" in compare(found).notes[0]


def test_what_varies_inside_the_arms_is_equal_in_a_pair():
    both = [
        joined_arm(
            [arm(f"{name}{width}", [time + width] * 3, rate=rate, **{"model.width": width}) for width in (8, 16)]
        )
        for name, time, rate in (("slow", 800.0, 0.01), ("fast", 400.0, 0.1))
    ]
    found = paired(*both)
    assert found.matched == ("model.width",)
    assert len(found.a_P) == 6
    widths = [[one.history.runs[row].hyperparameters["model.width"] for row in rows]
              for one, rows in zip(both, (found.a_P, found.b_P), strict=True)]  # fmt: skip
    assert widths[0] == widths[1]
    # Three seeds are three independent pieces of evidence, however many widths they were tried at.
    assert compare(found).effects["time"].num_units == 3
    assert compare(found).effects["converged"].anytime.num_units == 3


def joined_arm(arms):
    histories = [one.history for one in arms]
    values = {name: np.concatenate([one.values[name] for one in histories]) for name in histories[0].values}
    runs = tuple(run for one in histories for run in one.runs)
    whole = replace(histories[0], runs=runs, ends=histories[0].ends * len(arms), values=values)
    return Arm(arms[0].name, whole, decide_outcomes(whole, DEFAULT_CRITERION))


@pytest.mark.parametrize("is_first", [True, False])
def test_what_varies_in_one_arm_and_is_unknown_to_the_other_is_refused(is_first):
    deep = joined_arm([arm(f"deep{depth}", [700.0] * 3, **{"model.num_layers": depth}) for depth in (1, 2)])
    flat = arm("flat", [900.0] * 3)
    with pytest.raises(
        ValueError, match=r"model\.num_layers varies in deep1, and flat does not have it; give deep1 one"
    ):
        paired(*((deep, flat) if is_first else (flat, deep)))
    assert paired(flat, deep.where({"num_layers": 2})).differing == {"model.num_layers": (None, 2)}


def test_the_effect_of_swapped_arms_is_the_opposite():
    rng = np.random.default_rng(0)
    times = [
        rng.choice([300.0, 600.0, 900.0, np.inf], 40, p=share) for share in ([0.2, 0.2, 0.2, 0.4], [0.4, 0.3, 0.2, 0.1])
    ]
    a, b = arm("a", times[0]), arm("b", times[1], rate=0.1)
    there, back = compare(paired(a, b)).effects, compare(paired(b, a)).effects
    for metric in ("converged", "time", "label_loss"):
        one, other = there[metric], back[metric]
        ends = [-other.difference.value, -other.difference.high, -other.difference.low]
        assert [one.difference.value, one.difference.low, one.difference.high] == pytest.approx(ends, abs=1e-3)
        assert one.anytime.e_value == pytest.approx(other.anytime.e_value)
        assert (one.anytime.low, one.anytime.high) == pytest.approx((-other.anytime.high, -other.anytime.low), abs=1e-3)
        assert one.needed.num_pairs == other.needed.num_pairs


def test_a_run_that_diverged_never_converges_and_is_worse_than_any():
    ends = [RunEnd("diverged", 200)] * 4 + [RunEnd("budget", 1000)] * 6
    found = compare(paired(arm("a", [500.0] * 10), arm("b", [500.0] * 10, rate=0.1, ends=ends))).effects
    assert found["converged"].difference.value == pytest.approx(-0.4)
    assert found["time"].difference.value == pytest.approx(0.4 * 500)
    assert found["label_loss"].difference.high == np.inf
    assert found["label_loss"].num_pairs == 10


def test_a_failed_run_is_censored_and_told():
    ends = [RunEnd("failed", 400)] * 2 + [RunEnd("budget", 1000)] * 18
    times = [600.0] * 10 + [np.inf] * 10
    found = compare(paired(arm("a", times), arm("b", times, rate=0.1, ends=ends)))
    # Of the 18 others of b 8 converged: the two are taken to be as they.
    assert found.effects["converged"].difference.value == pytest.approx(8 / 18 - 0.5)
    assert found.effects["label_loss"].num_pairs == 18
    assert found.effects["time"].anytime.num_units == 18
    assert "2 of 20 pairs" in found.notes[0]


def test_while_runs_train_evidence_is_of_the_seeds_before_the_first_of_them():
    ends = [RunEnd("budget", 1000)] * 5 + [RunEnd("running", 300)] + [RunEnd("budget", 1000)] * 4
    found = compare(paired(arm("a", [400.0] * 10), arm("b", [600.0] * 10, rate=0.1, ends=ends)))
    assert found.effects["time"].anytime.num_units == 5
    assert found.effects["label_loss"].anytime.num_units == 5
    # All that is known counts in the interval of a fixed number.
    assert found.effects["time"].difference.value == pytest.approx(200)


def test_crossed_seeds_have_an_interval_by_seeds_and_no_bets():
    crossed = [(i, j) for i in range(5) for j in range(5)]
    times = np.random.default_rng(1).choice([300.0, 700.0, np.inf], 25)
    found = compare(paired(arm("a", times, seeds=crossed), arm("b", times[::-1], rate=0.1, seeds=crossed)))
    effect = found.effects["converged"]
    assert effect.method == "bootstrap over seeds"
    assert effect.anytime is None
    assert effect.difference.low < effect.difference.value < effect.difference.high


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda b: arm("b", [400.0] * 3, seeds=[7, 8, 9]), "no run of a has both seeds"),
        (lambda b: replace(b, history=replace(b.history, budget=2000)), "budgets differ"),
        (lambda b: replace(b, outcomes=replace(b.outcomes, criterion="other")), "criteria differ"),
        (lambda b: arm("a", [400.0] * 3), "are in both"),
    ],
)
def test_arms_that_cannot_be_compared_are_refused(change, told):
    a = arm("a", [400.0] * 3)
    with pytest.raises(ValueError, match=told):
        paired(a, change(arm("b", [400.0] * 3, rate=0.1)))


def test_metrics_and_effects_that_are_not_there_are_refused():
    pairs = paired(arm("a", [400.0] * 3), arm("b", [400.0] * 3, rate=0.1))
    with pytest.raises(ValueError, match="no metric 'speed'"):
        compare(pairs, ["speed"])
    with pytest.raises(ValueError, match="an effect is given on time"):
        compare(pairs, ["converged"], {"time": 3.0})


def test_all_that_is_written_is_json():
    pairs = paired(arm("a", [400.0]), arm("b", [np.inf], rate=0.1))
    document = compare(pairs).to_json()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["effects"]["label_loss"]["anytime"]["low"] is None


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with the results that the page speaks of."""
    folder = tmp_path_factory.mktemp("work")
    rates, seeds = [{"optimiser.lr": [1e-3, 1e-2]}], {"together": [0, 1, 2]}
    trained(tiny(name="rates", budget=60, vary=rates, seeds=seeds), folder / "results" / "rates")
    optimiser = {"name": "adamw", "lr": 1e-2, "beta2": 0.9}
    trained(tiny(name="wide", budget=60, optimiser=optimiser, seeds=seeds), folder / "results" / "wide")
    return folder


@pytest.fixture
def swept(work):
    return work / "results" / "rates"


@pytest.mark.parametrize("line", LINES)
def test_the_commands_of_the_page_do_what_it_says(line, work, monkeypatch):
    monkeypatch.chdir(work)
    result = CliRunner().invoke(app, shlex.split(line)[1:])
    assert result.exit_code == 0
    assert ('"num_pairs": 3' if "--json" in line else "over 3 pairs of equal seeds") in result.stdout


def test_the_python_of_the_page_runs(work, monkeypatch, capsys):
    monkeypatch.chdir(work)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(code, {})
    assert capsys.readouterr().out


def test_settings_of_a_sweep_are_compared_by_the_command(swept):
    line = ["compare", str(swept), "--arms", "lr=1e-3", "lr=.01", "--metric", "label_loss", "--json"]
    found = json.loads(CliRunner().invoke(app, line).stdout)
    effect = found["effects"]["label_loss"]
    assert effect["num_pairs"] == 3
    assert effect["difference"][0] < -0.01
    assert found["differing"] == {"optimiser.lr": [1e-3, 1e-2]}
    shown = CliRunner().invoke(app, [part for part in line if part != "--json"]).stdout
    assert "optimiser.lr: 0.001 -> 0.01" in shown
    assert "optimistic" in shown


@pytest.mark.parametrize("effect", ["time=0", "time=1e-200", "time=1e300", "time=true", "time", "=1", "loss=1"])
def test_odd_effects_are_refused_in_a_sentence(swept, effect):
    line = ["compare", str(swept), "--arms", "lr=1e-3", "lr=.01", "--effect", effect]
    result = CliRunner().invoke(app, line)
    assert isinstance(result.exception, StoreError)
    assert "effect" in str(result.exception)


def test_a_folder_has_nothing_over_itself(swept):
    with pytest.raises(StoreError, match="equal"):
        compare_folders(swept, swept)
    with pytest.raises(StoreError, match=r"no run has optimiser.lr=3 \(it has: 0.001, 0.01\)"):
        compare_settings(swept, {"lr": 3}, {"lr": 0.01})


def test_the_last_loss_is_that_of_the_same_seeds(swept):
    found = compare_settings(swept, {"lr": 1e-3}, {"lr": 0.01}, metrics=["label_loss"])
    history = found.pairs.a.history
    assert [run.init_seed for run in chosen_runs(history, found.pairs.a_P).runs] == [0, 1, 2]
    losses = [one.history.values["label_loss"][rows, -1]
              for one, rows in ((found.pairs.a, found.pairs.a_P), (found.pairs.b, found.pairs.b_P))]  # fmt: skip
    assert found.effects["label_loss"].a == pytest.approx(np.median(losses[0]))
    means = [(x + y) / 2 for x in losses[1] - losses[0] for y in losses[1] - losses[0]]
    assert min(means) <= found.effects["label_loss"].difference.value <= max(means)
