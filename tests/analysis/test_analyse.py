"""The analysis as a whole: summary, JSON, and the edges of what a sweep can be."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from analysis.forecasting.evaluation import PRIMARY
from analysis.outcomes.outcomes import decide_outcomes
from analysis.summary.analyse import analyse
from analysis.summary.text import describe_failed, score_text
from analysis.uncertainty.intervals import short, wilson
from pipeline.spec.criterion import Criterion
from pipeline.store.history import RunEnd
from tests.analysis.synthetic import BUDGET, drop_runs, synthetic_history, tiny_history
from tests.analysis.test_live import LIVE, NOW

N = np.nan
PROVENANCE = {"sweep_id": "abc123", "git_commit": "0123456789abcdef"}


def fits(analysis):
    """The summary with scores, after checking that it fits 100 columns, 80 without, and that the JSON is strict."""
    text, short_text = analysis.summary(with_scores=True), analysis.summary()
    assert max(map(len, text.splitlines())) <= 100
    assert max(map(len, short_text.splitlines())) <= 80
    assert text.startswith(short_text)
    json.dumps(analysis.to_json(), allow_nan=False)
    return text


def test_the_summary_tells_outcomes_first_then_a_line_per_window_and_scores_on_request_alone():
    analysis = analyse(synthetic_history(3, 12), provenance=PROVENANCE, bootstrap=50)
    lines = analysis.summary().splitlines()
    assert lines[0].startswith("synthetic: 36 runs of 3 settings, ")
    title = next(number for number, line in enumerate(lines) if line.startswith("setting "))
    assert [line.split()[0].rstrip(",") for line in lines[title + 1 : title + 4]] == [
        setting.label.split()[0].rstrip(",") for setting in analysis.settings
    ]
    findings = [line for line in lines if line.startswith("  ")]
    expected = []
    for window in analysis.evaluation.windows:
        best, loss = (window.scores[name].auroc_within.text() for name in ("ridge_time", "last_loss"))
        expected.append(f" {window.last_step}), {window.num_at_risk} runs: {best}, beside {loss}")
    assert [line.partition("(step")[2] for line in findings] == expected
    assert lines.index(findings[0]) > title + 3
    assert not any(line.startswith("  setting_rate") for line in lines)
    assert any(line.startswith("  setting_rate") for line in analysis.summary(with_scores=True).splitlines())


def test_a_summary_is_as_wide_as_it_is_told_to_be_and_says_the_same():
    analysis = analyse(synthetic_history(3, 12), provenance=PROVENANCE, bootstrap=5)
    assert 80 < max(map(len, analysis.summary(width=100).splitlines())) <= 100
    for width in (60, 72, 120):
        text = analysis.summary(width=width)
        assert max(map(len, text.splitlines())) <= width
        # Labels and hyphenated words go on in the next line where they do not fit.
        assert sorted("".join(text.split())) == sorted("".join(analysis.summary().split()))


def test_a_summary_states_sweep_counts_settings_baselines_and_commit():
    analysis = analyse(synthetic_history(3, 12), provenance=PROVENANCE, bootstrap=50)
    text = fits(analysis)
    assert "synthetic: 36 runs of 3 settings" in text
    assert "commit 0123456789ab" in text
    for setting in analysis.settings:
        assert f"{setting.label} " in text
    text_in_one_line = " ".join(text.split())
    (constant,) = re.findall(
        r"\. ([a-z_, ]+): one forecast for all runs of a setting, so AUROC \.50\.", text_in_one_line
    )
    assert "setting_rate" in constant.split(", ")
    assert PRIMARY not in constant.split(", ")
    for window in analysis.evaluation.windows:
        assert f"{window.num_at_risk} at risk" in text_in_one_line
        assert f"base rate {window.base_rate:.2f}".replace("0.", ".") in text_in_one_line
    for predictor in ("base_rate", "setting_rate", "hyperparameters_only", "last_loss", "ridge_time"):
        assert text.count(f"  {predictor} ") == 4


def test_a_long_label_is_broken_into_lines_and_not_cut():
    history = synthetic_history(1, 4)
    label = {f"model.parameter_{number}": "x" * 12 for number in range(6)}
    runs = tuple(replace(run, hyperparameters=label) for run in history.runs)
    text = fits(analyse(replace(history, runs=runs, varied=tuple(label)), bootstrap=5))
    assert all(f"parameter_{number}={'x' * 12}" in text for number in range(6))


def test_shares_and_half_times_are_those_of_the_hand_calculation():
    rows = [[1, 0, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]]
    setting = analyse(tiny_history(rows, [("budget", 200)] * 4)).settings[0]
    assert (setting.num_converged, setting.num_unconverged, setting.half_by) == (2, 2, 150)
    assert (round(setting.converged.low, 3), round(setting.converged.high, 3)) == (0.15, 0.85)
    assert not setting.is_estimated


def test_with_censored_runs_the_share_is_the_incidence():
    rows = [[1, 0, 0, 0, 0], [1, 1, N, N, N], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    ends = [("budget", 200), ("stopped", 100), ("budget", 200), ("budget", 200)]
    setting = analyse(tiny_history(rows, ends)).settings[0]
    assert setting.is_estimated
    np.testing.assert_allclose(setting.converged.value, 1 / 4 + 3 / 4 * 1 / 2)
    assert "Aalen-Johansen" in analyse(tiny_history(rows, ends)).summary()
    assert setting.converged_text().endswith("by step 200")


def test_under_censoring_the_share_names_the_last_step_at_risk_and_has_an_interval_with_width():
    rows = [[1, 1, N, N, N], [1, 1, 1, N, N], [1, 1, 1, 1, N], [1, 1, 1, 1, N]]
    ends = [("stopped", 50), ("running", 100), ("running", 150), ("running", 150)]
    rows, ends = [*rows, [1, 1, 1, 1, N]], [*ends, ("running", 160)]
    setting = analyse(tiny_history(rows, ends, budget=200)).settings[0]
    assert (setting.by_step, setting.converged.value) == (160, 0)
    assert setting.converged.high == wilson(0, 1).high
    assert "by step 160" in analyse(tiny_history(rows, ends, budget=200)).summary()


@pytest.mark.parametrize(
    ("data_seed_of", "interval"),
    [
        (lambda r: r, "Wilson"),
        (lambda r: r // 2, "bootstrap over groups of runs that share a seed"),
        (lambda r: r % 3, "bootstrap over init seeds times data seeds"),
    ],
    ids=["own seeds", "shared in pairs", "three streams"],
)
def test_the_interval_of_a_share_follows_the_seeds_of_its_setting(data_seed_of, interval):
    history = tiny_history([[1, 0, 0]] * 6 + [[1, 1, 1]] * 6, [("budget", 100)] * 12)
    runs = tuple(replace(run, data_seed=data_seed_of(r)) for r, run in enumerate(history.runs))
    analysis = analyse(replace(history, runs=runs))
    assert analysis.settings[0].interval == interval
    assert interval in " ".join(analysis.summary().split())


def test_a_share_of_all_runs_rests_on_the_independent_units():
    history = tiny_history([[1, 0, 0]] * 12, [("budget", 100)] * 12)
    runs = tuple(replace(run, data_seed=r // 2) for r, run in enumerate(history.runs))
    assert analyse(replace(history, runs=runs)).settings[0].converged.low == wilson(6, 6).low


def test_the_summary_states_unit_reference_gain_and_what_intervals_leave_out():
    text = " ".join(fits(analyse(synthetic_history(2, 12), bootstrap=50)).split())
    assert "50 resamples of groups of runs that share a seed" in text
    assert "of these fitted forecasts; variation from training them is not included" in text
    assert "Brier score of setting_rate" in text
    assert text.count("ridge_time less last_loss: ") == 4


def test_the_summary_names_forks_fixed_streams_and_the_whole_commit():
    history = synthetic_history(2, 12)
    runs = tuple(
        replace(run, fork_step=300, parent=f"p{r}", hyperparameters=dict(run.hyperparameters) | {"streams.data": 5})
        for r, run in enumerate(history.runs)
    )
    commit = "0123456789" * 4 + "-dirty"
    text = " ".join(fits(analyse(replace(history, runs=runs), provenance={"git_commit": commit}, bootstrap=5)).split())
    assert "24 runs are forks, made at step 300" in text
    assert "stream data is the same in every run, so it is shared by train and test" in text
    assert commit in text
    assert "24 not yet started" in text


def test_a_baseline_is_not_held_against_itself():
    analysis = analyse(synthetic_history(2, 12), windows=(0.1,), bootstrap=5)
    window = analysis.evaluation.windows[0]
    assert score_text(analysis.evaluation, window, "setting_rate", "brier_skill") == "-"
    assert score_text(analysis.evaluation, window, "last_loss", "auroc_gain") == "-"
    assert score_text(analysis.evaluation, window, "ridge_time", "auroc_gain") != "-"


def test_a_number_that_rounds_to_zero_has_no_sign():
    assert [short(x) for x in (-0.001, -0.01, 0.0, -0.004999)] == [".00", "-.01", ".00", ".00"]
    assert short(-0.2, 0) == "0"


def test_one_run_is_counted_and_not_forecast():
    analysis = analyse(drop_runs(synthetic_history(), np.arange(64) == 0), provenance=PROVENANCE)
    assert analysis.evaluation is None
    assert "No forecasts: forecasts are scored on runs whose init_seed" in fits(analysis)


@pytest.mark.parametrize(("level", "kind"), [(0.0, "converged"), (1.0, "unconverged")])
def test_one_kind_of_outcome_makes_figures_undefined_and_they_are_printed_as_such(level, kind):
    history = synthetic_history(2, 10, diverge_share=0)
    excess = np.where(np.isnan(history.values["label_excess"]), N, level)
    excess[:, : 300 // 50] = np.where(np.isnan(excess[:, : 300 // 50]), N, 1.0)
    analysis = analyse(replace(history, values=dict(history.values) | {"label_excess": excess}), bootstrap=20)
    assert analysis.outcomes.count(kind) == 20
    assert fits(analysis).count("n/a") >= 9
    assert all(np.isnan(scores.auroc_within.value) for scores in analysis.evaluation.windows[0].scores.values())


def test_a_setting_with_one_run_is_summed_up_like_any_other():
    history = drop_runs(synthetic_history(2, 10), np.arange(20) < 11)
    assert fits(analyse(history, bootstrap=20)).count("lr=") == 2


def test_a_history_without_evaluations_is_all_censored():
    history = synthetic_history(2, 6)
    empty = replace(history, values=dict(history.values) | {"label_excess": np.full((12, len(history.steps_T)), N)})
    analysis = analyse(empty, bootstrap=20)
    assert analysis.outcomes.count("censored") + analysis.outcomes.count("diverged") == 12
    assert "n/a" in fits(analysis)


def test_a_window_of_one_probe_is_scored_and_one_without_any_is_not():
    history = synthetic_history(3, 10)
    blank = {m: a if m.startswith("label_") else np.full_like(a, N) for m, a in history.values.items()}
    first = analyse(history, windows=(1 / BUDGET,), bootstrap=20)
    fits(first)
    assert np.isfinite(first.evaluation.windows[0].scores["ridge_time"].brier.value)
    assert "n/a: nothing was recorded" in fits(analyse(replace(history, values=blank), windows=(0.25,), bootstrap=20))


def test_a_history_of_label_metrics_alone_is_analysed():
    fits(analyse(synthetic_history(2, 10, metrics=False), bootstrap=20))


def test_runs_under_way_are_censored_and_the_rest_is_analysed():
    history = synthetic_history(2, 12)
    ends = tuple(RunEnd("running", 500) if r % 4 == 0 else end for r, end in enumerate(history.ends))
    late_T = history.steps_T > 500
    is_running_R = np.arange(24) % 4 == 0
    values = {m: np.where(is_running_R[:, None] & late_T, N, a) for m, a in history.values.items()}
    text = fits(analyse(replace(history, ends=ends, values=values), bootstrap=20))
    assert "Aalen-Johansen" in text


def with_failed(history, step):
    """Every fourth run fails there."""
    is_failed_R = np.arange(len(history.runs)) % 4 == 0
    ends = tuple(
        RunEnd("failed", step) if failed else end for failed, end in zip(is_failed_R, history.ends, strict=True)
    )
    late_T = history.steps_T > step
    values = {m: np.where(is_failed_R[:, None] & late_T, N, a) for m, a in history.values.items()}
    return replace(history, ends=ends, values=values)


def test_failed_runs_are_censored_and_the_summary_says_how_much_that_can_matter():
    history = with_failed(synthetic_history(2, 12), 1500)
    analysis = analyse(history, windows=(0.1,), bootstrap=20)
    text = " ".join(fits(analysis).split())
    num_censored = analysis.outcomes.count("censored")
    assert 0 < num_censored < 6, "some had converged before"
    told = f"6 runs failed by an error: {num_censored} of them, without an outcome, are censored at their last step"
    assert told in text
    assert f"differs by {num_censored / 24:.2g} at most" in text
    assert f"{num_censored} of these failed by an error; where errors depend on how a run trains" in text
    assert analysis.to_json()["num_failed"] == 6
    assert analysis.to_json()["forecasts"] is None, "they are not in training"
    assert describe_failed(synthetic_history(1, 4), decide_outcomes(synthetic_history(1, 4))) == ""


def test_the_share_with_failed_runs_lies_within_the_bound_of_the_summary_whatever_became_of_them():
    whole = synthetic_history(2, 12)
    true, found = decide_outcomes(whole).count("converged"), decide_outcomes(with_failed(whole, 500))
    assert found.count("converged") < true < found.count("converged") + found.count("censored")


def test_the_json_has_forecasts_of_runs_in_training_and_held_out_ones_of_the_others():
    document = analyse(NOW, windows=(0.25, 0.5), bootstrap=20).to_json()
    assert [row["run_id"] for row in document["forecasts"]["runs"]] == [run.run_id for run in LIVE.runs]
    history = synthetic_history(2, 12)
    found = analyse(history, windows=(0.1, 0.5), bootstrap=5)
    document = found.to_json()
    assert document["forecasts"] is None
    for number, window in enumerate(found.evaluation.windows):
        p_R = [row["p_converged"][number] for row in document["runs"]]
        assert [p is not None for p in p_R] == window.scored_R.tolist()
        kept_N = np.array([p for p in p_R if p is not None])
        np.testing.assert_allclose(kept_N, window.probability_N["ridge_time"], atol=5.1e-5)
    assert document["evaluation"]["windows"][1]["num_scored"] == found.evaluation.windows[1].num_scored
    assert len(json.dumps(document["runs"])) < 150 * len(history.runs)


def test_the_summary_tells_how_many_runs_in_training_are_expected_to_converge():
    text = " ".join(fits(analyse(NOW, windows=(0.25, 0.5), bootstrap=20)).split())
    known = sum(not run.problem for run in LIVE.runs)
    assert f"In training: {len(LIVE.runs)} runs; about " in text
    assert f" of {known} runs in training converge, from windows 0.25-0.5; " in text


def test_an_empty_history_and_an_impossible_window_are_refused():
    with pytest.raises(ValueError, match="holds no run"):
        analyse(drop_runs(synthetic_history(1, 2), np.zeros(2, bool)))
    with pytest.raises(ValueError, match="window must be in"):
        analyse(synthetic_history(1, 4), windows=(2.0,))


def test_another_criterion_is_another_analysis_of_the_same_history():
    history = synthetic_history(2, 10)
    strict = analyse(history, Criterion(at_most=1e-9), bootstrap=5)
    lax = analyse(history, Criterion("label_accuracy", at_least=0.1), bootstrap=5)
    assert (strict.outcomes.count("converged"), lax.outcomes.count("converged")) == (0, 20)


def test_analysis_imports_neither_torch_lightning_ray_nor_wandb():
    code = (
        "import sys, pkgutil, importlib, analysis\n"
        "for m in pkgutil.walk_packages(analysis.__path__, 'analysis.'): importlib.import_module(m.name)\n"
        "print([m for m in ('torch', 'lightning', 'ray', 'wandb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.strip() == "[]"
