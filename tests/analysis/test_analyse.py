"""The analysis as a whole: summary, JSON, and the edges of what a sweep can be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from analysis.analyse import analyse
from pipeline.criterion import Criterion
from pipeline.history import RunEnd
from tests.analysis.synthetic import BUDGET, drop_runs, synthetic_history, tiny_history

N = np.nan
PROVENANCE = {"sweep_id": "abc123", "git_commit": "0123456789abcdef"}


def fits(analysis):
    """The summary, after checking that it fits 100 columns, and that the JSON is strict."""
    text = analysis.summary()
    assert max(map(len, text.splitlines())) <= 100
    json.dumps(analysis.to_json(), allow_nan=False)
    return text


def test_a_summary_states_sweep_counts_settings_baselines_and_commit():
    analysis = analyse(synthetic_history(3, 12), provenance=PROVENANCE, bootstrap=50)
    text = fits(analysis)
    assert "synthetic: 36 run(s) of 3 setting(s)" in text
    assert "commit 0123456789ab" in text
    for setting in analysis.settings:
        assert f"{setting.label} " in text
    text_in_one_line = " ".join(text.split())
    for window in analysis.evaluation.windows:
        assert f"{window.num_at_risk} at risk" in text_in_one_line
        assert f"base rate {window.base_rate:.2f}".replace("0.", ".") in text_in_one_line
    for predictor in ("base_rate", "setting_rate", "hyperparameters_only", "last_loss", "logistic"):
        assert text.count(f"  {predictor} ") == 4


def test_a_long_label_is_broken_into_lines_and_not_cut():
    history = synthetic_history(1, 4)
    label = {f"model.parameter_{number}": "x" * 20 for number in range(6)}
    runs = tuple(replace(run, hyperparameters=label) for run in history.runs)
    text = fits(analyse(replace(history, runs=runs, varied=tuple(label)), bootstrap=5))
    assert all(f"parameter_{number}={'x' * 20}" in text for number in range(6))


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
    assert fits(analysis).count("n/a") >= 10
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


def test_a_window_before_the_first_probe_and_metrics_full_of_nan_leave_the_base_rates():
    history = synthetic_history(3, 10)
    blank = {m: a if m.startswith("label_") else np.full_like(a, N) for m, a in history.values.items()}
    for values, windows in ((history.values, (1 / BUDGET,)), (blank, (0.25,))):
        analysis = analyse(replace(history, values=values), windows=windows, bootstrap=20)
        fits(analysis)
        scores = analysis.evaluation.windows[0].scores
        assert scores["last_loss"].auroc_within.value == 0.5 or windows == (1 / BUDGET,)
        assert np.isfinite(scores["logistic"].brier.value)


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
