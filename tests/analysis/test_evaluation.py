"""The evaluation: leak gates (a) to (h), planted effects found, none found in null data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from analysis.forecasting.evaluation import cases_of, evaluate
from analysis.forecasting.folds import held_out_seeds
from analysis.outcomes.outcomes import Outcomes, decide_outcomes
from analysis.predictors.base import PREDICTORS, Forecast, Predictor
from analysis.predictors.features import statistics_RF
from analysis.statistics.base import Statistic
from pipeline.store.history import RunEnd
from tests.analysis.synthetic import overwrite_after, same_bytes, synthetic_history

HISTORY = synthetic_history(4, 25, seed=1)
OUTCOMES = decide_outcomes(HISTORY)


class Spy(Predictor):
    """Records what it is fitted on and asked for; forecasts one half."""

    name: ClassVar[str] = "spy"

    def __init__(self):
        self.fitted, self.asked = [], []

    def fit(self, cases, targets, weight_R=None):
        self.fitted.append((cases, targets.kind_R))
        return self

    def forecast(self, cases):
        self.asked.append(cases)
        return Forecast(np.full(len(cases), 0.5), np.zeros(len(cases)))


@dataclass
class WholeRunZScore(Statistic):
    """The leak of published practice: the window's last loss, in z-scores over the whole run."""

    history: object
    name: ClassVar[str] = "whole_run_z_score"

    def __call__(self, window):
        loss_RT = self.history.values["probe_loss"]
        centre_R, spread_R = np.nanmean(loss_RT, axis=1), np.nanstd(loss_RT, axis=1)
        seen_RT = window.values["probe_loss"]
        return {"z": (seen_RT[:, 0] - centre_R) / spread_R}


def only(*names):
    return {name: PREDICTORS[name]() for name in names}


def test_gate_a_any_change_after_the_window_leaves_every_feature_byte_identical():
    for fraction in (0.05, 0.1, 0.25, 0.5):
        window = HISTORY.window(fraction)
        changed = overwrite_after(HISTORY, window.last_step).window(fraction)
        before, after = cases_of(window), cases_of(changed)
        assert before.statistics.values_RF.tobytes() == after.statistics.values_RF.tobytes()
        assert before.hyperparameters.values_RF.tobytes() == after.hyperparameters.values_RF.tobytes()


def test_gate_a_forecasts_do_not_move_by_a_bit_when_all_after_the_window_changes():
    before = evaluate(HISTORY, OUTCOMES, (0.1,), bootstrap=0).windows[0]
    after = evaluate(overwrite_after(HISTORY, before.last_step), OUTCOMES, (0.1,), bootstrap=0).windows[0]
    for name, p_N in before.probability_N.items():
        assert p_N.tobytes() == after.probability_N[name].tobytes()


def test_gate_b_on_permuted_outcomes_no_predictor_finds_anything():
    history = synthetic_history(6, 250, seed=3, diverge_share=0.0)
    outcomes = decide_outcomes(history)
    order = np.random.default_rng(5).permutation(len(history.runs))
    permuted = Outcomes(outcomes.criterion, outcomes.kind_R[order], outcomes.lower_R[order], outcomes.upper_R[order])
    window = evaluate(history, permuted, (0.1,), bootstrap=0).windows[0]
    for name, scores in window.scores.items():
        assert abs(scores.auroc_pooled.value - 0.5) <= 0.05, name
        assert abs(scores.auroc_within.value - 0.5) <= 0.05, name
        assert abs(scores.concordance.value - 0.5) <= 0.05, name
        assert scores.brier_skill.value < 0.02, name


def test_gate_c_a_constant_predictor_has_an_auroc_of_exactly_one_half_everywhere():
    for window in evaluate(HISTORY, OUTCOMES, predictors={"spy": Spy()} | only("base_rate"), bootstrap=50).windows:
        for scores in window.scores.values():
            for figure in (scores.auroc_pooled, scores.auroc_within, scores.concordance, scores.concordance_converged):
                assert (figure.value, figure.low, figure.high) == (0.5, 0.5, 0.5)


def test_gate_c_what_is_blind_to_seeds_has_exactly_one_half_inside_a_setting():
    for window in evaluate(HISTORY, OUTCOMES, predictors=only("setting_rate", "hyperparameters_only")).windows:
        for scores in window.scores.values():
            assert (scores.auroc_within.value, scores.auroc_within.low, scores.auroc_within.high) == (0.5, 0.5, 0.5)
            assert scores.auroc_pooled.value > 0.55


def test_gate_d_a_planted_whole_run_z_score_is_caught():
    window = HISTORY.window(0.1)
    changed = overwrite_after(HISTORY, window.last_step)
    leak, after = WholeRunZScore(HISTORY)(window), WholeRunZScore(changed)(changed.window(0.1))
    assert not same_bytes(leak, after)
    # And it would have mattered: the leak alone tells fates apart at 10%, where the honest last loss does not.
    leaky = evaluate(HISTORY, OUTCOMES, (0.1,), only("ridge_time"), [WholeRunZScore(HISTORY)], bootstrap=0).windows[0]
    honest = evaluate(HISTORY, OUTCOMES, (0.1,), only("last_loss"), bootstrap=0).windows[0]
    assert leaky.scores["ridge_time"].auroc_within.value > 0.9
    assert abs(honest.scores["last_loss"].auroc_within.value - 0.5) < 0.15


@pytest.mark.parametrize(
    "data_seed_of", [lambda init: init, lambda init: init % 7, lambda init: 100 + init], ids=["tied", "reused", "own"]
)
def test_gate_e_no_seed_data_stream_or_run_is_shared_by_train_and_test(data_seed_of):
    history, spy = synthetic_history(3, 20, data_seed_of=data_seed_of), Spy()
    evaluate(history, decide_outcomes(history), (0.1,), {"spy": spy})
    assert len(spy.fitted) >= 2
    for (train, _), test in zip(spy.fitted, spy.asked, strict=True):
        assert not set(train.init_seed_R) & set(test.init_seed_R)
        assert not {data_seed_of(s) for s in train.init_seed_R} & {data_seed_of(s) for s in test.init_seed_R}


def test_gate_f_stopped_runs_never_enter_as_did_not_converge():
    late_R = np.flatnonzero(OUTCOMES.kind_R == "unconverged")[:20]
    ends = [RunEnd("stopped", 700) if r in set(late_R) else end for r, end in enumerate(HISTORY.ends)]
    values = {m: a.copy() for m, a in HISTORY.values.items()}
    for array in values.values():
        array[late_R[:, None], HISTORY.steps_T > 700] = np.nan
    history, spy = replace(HISTORY, ends=tuple(ends), values=values), Spy()
    outcomes = decide_outcomes(history)
    window, late = evaluate(history, outcomes, (0.1, 0.4), {"spy": spy}).windows
    assert (window.num_at_risk, window.num_censored) == (np.sum(outcomes.upper_R > 200), 20)
    for _, kind_R in spy.fitted:
        assert set(kind_R) <= {"converged", "diverged", "unconverged"}
    # The runs whose outcome is known were chosen by the outcome: no score of them alone, but counts and a sentence.
    assert window.num_scored == 0
    assert np.isnan(window.scores["spy"].brier.value)
    assert f"20 of {window.num_at_risk} runs at risk were stopped before their outcome" in window.problem
    # Past the step at which they were stopped they are not at risk.
    assert (late.num_censored, late.problem) == (0, "")
    assert late.num_scored == late.num_at_risk > 0
    assert not np.any(late.scored_R[late_R])


def test_gate_g_runs_that_had_their_event_in_the_window_are_neither_trained_on_nor_scored():
    spy = Spy()
    windows = evaluate(HISTORY, OUTCOMES, (0.25, 0.5), {"spy": spy}).windows
    for window in windows:
        had_event_R = np.isin(OUTCOMES.kind_R, ["converged", "diverged"]) & (OUTCOMES.upper_R <= window.last_step)
        assert had_event_R.any()
        assert not np.any(window.scored_R & had_event_R)
        assert window.num_at_risk == window.num_scored == np.sum(~had_event_R)
        assert window.base_rate == np.mean(OUTCOMES.kind_R[~had_event_R] == "converged")
    at_half = windows[1].num_scored
    assert len(held_out_seeds(HISTORY.runs).folds) == 5
    assert sum(len(cases) for cases in spy.asked[5:]) == at_half
    assert all(
        len(train) + len(test) == at_half for (train, _), test in zip(spy.fitted[5:], spy.asked[5:], strict=True)
    )


def test_gate_h_statistics_do_not_see_the_data_that_outcomes_are_judged_on():
    noise = {m: a + 1e3 if m.startswith("label_") else a for m, a in HISTORY.values.items()}
    changed = replace(HISTORY, values=noise)
    assert not any("label_" in name for name in statistics_RF(HISTORY.window(0.5)).names_F)
    first, second = statistics_RF(HISTORY.window(0.5)), statistics_RF(changed.window(0.5))
    assert first.values_RF.tobytes() == second.values_RF.tobytes()


def test_a_planted_effect_is_found_and_the_baselines_do_not_find_it():
    history = synthetic_history(4, 50, seed=7)
    window = evaluate(history, decide_outcomes(history), (0.1,)).windows[0]
    ridge, loss = window.scores["ridge_time"], window.scores["last_loss"]
    assert ridge.auroc_within.low > 0.85
    assert ridge.auroc_gain.low > 0.2
    assert ridge.brier_skill.low > 0.1
    assert 0.5 < ridge.calibration_slope.value < 2
    assert abs(loss.auroc_within.value - 0.5) < 0.15


def test_without_a_planted_effect_nothing_is_found_inside_a_setting():
    history = synthetic_history(4, 60, seed=8, signal=0.0)
    scores = evaluate(history, decide_outcomes(history), (0.05,)).windows[0].scores["ridge_time"]
    assert scores.auroc_within.low < 0.5 < scores.auroc_within.high


def test_the_interval_of_the_auroc_covers_the_figure_of_many_seeds():
    truth = evaluate_within(synthetic_history(4, 400, seed=9, signal=0.6), bootstrap=0).value
    covered = 0
    for seed in range(20):
        figure = evaluate_within(synthetic_history(4, 40, seed=100 + seed, signal=0.6), bootstrap=100)
        covered += figure.low <= truth <= figure.high
    assert covered >= 16


def evaluate_within(history, bootstrap):
    class Planted(Spy):
        def forecast(self, cases):
            column = cases.statistics.names_F.index("strongest_head(induction_score.l0 max)")
            return Forecast(1 / (1 + np.exp(-cases.statistics.values_RF[:, column])), np.zeros(len(cases)))

    windows = evaluate(history, decide_outcomes(history), (0.1,), {"planted": Planted()}, bootstrap=bootstrap).windows
    return windows[0].scores["planted"].auroc_within


def test_an_evaluation_is_deterministic():
    first, second = (evaluate(HISTORY, OUTCOMES, (0.1,), bootstrap=20) for _ in range(2))
    for name, p_N in first.windows[0].probability_N.items():
        assert p_N.tobytes() == second.windows[0].probability_N[name].tobytes()
    assert repr(first.windows[0].scores) == repr(second.windows[0].scores)


def test_each_held_out_run_is_forecast_once():
    spy = Spy()
    window = evaluate(HISTORY, OUTCOMES, (0.1,), {"spy": spy}).windows[0]
    assert sum(len(cases) for cases in spy.asked) == window.num_scored
    assert len(held_out_seeds(HISTORY.runs).folds) == len(spy.asked)


def test_the_sign_of_the_loss_baseline_is_that_inside_a_setting():
    # Between settings a lower loss goes with failure, inside a setting with success.
    history = synthetic_history(4, 30, seed=4, signal=0.0, diverge_share=0.0)
    converged_R = decide_outcomes(history).kind_R == "converged"
    setting_R = np.array([int(run.setting_id[-1]) for run in history.runs])
    rank_R = np.random.default_rng(0).normal(size=len(history.runs)) * 0.05
    excess = history.values["label_excess"].copy()
    excess[setting_R == 0] = np.where(np.isnan(excess[setting_R == 0]), np.nan, 1.0)
    converged_R &= setting_R > 0
    loss_R = 1.0 * setting_R - 0.2 * converged_R + rank_R
    for metric in ("probe_loss", "train_loss"):
        array = history.values[metric]
        values = dict(history.values) | {metric: np.where(np.isnan(array), np.nan, loss_R[:, None])}
        history = replace(history, values=values)
    history = replace(history, values=dict(history.values) | {"label_excess": excess})
    scores = (
        evaluate(history, decide_outcomes(history), (0.05,), only("last_loss"), bootstrap=0)
        .windows[0]
        .scores["last_loss"]
    )
    assert scores.auroc_within.value > 0.9


def test_the_skill_is_against_the_setting_rate_for_new_seeds_and_hyperparameters_for_new_settings():
    assert evaluate(HISTORY, OUTCOMES, (0.1,), only("base_rate")).reference == "setting_rate"
    runs = tuple(replace(run, setting_id=f"of {run.init_seed}") for run in HISTORY.runs)
    apart = evaluate(replace(HISTORY, runs=runs), OUTCOMES, (0.1,), only("base_rate", "hyperparameters_only"))
    assert apart.reference == "hyperparameters_only"
    assert apart.windows[0].scores["hyperparameters_only"].brier_skill.value == 0


def test_under_twenty_pairs_in_settings_there_is_no_interval():
    history = synthetic_history(1, 8, seed=2, diverge_share=0.0)
    window = evaluate(history, decide_outcomes(history), (0.1,), only("ridge_time", "last_loss")).windows[0]
    assert 0 < window.pairs_within < 20
    scores = window.scores["ridge_time"]
    assert np.isfinite(scores.auroc_within.value)
    assert np.isnan([scores.auroc_within.low, scores.auroc_gain.low]).all()
    assert scores.auroc_within.text().endswith("(n/a)")


def test_with_one_class_there_is_no_skill():
    none = replace(OUTCOMES, kind_R=np.full(len(HISTORY.runs), "unconverged"))
    window = evaluate(HISTORY, none, (0.1,), {"spy": Spy()} | only("setting_rate"), bootstrap=5).windows[0]
    assert np.isfinite(window.scores["spy"].brier.value)
    assert np.isnan(window.scores["spy"].brier_skill.value)


def test_the_calibration_error_has_no_interval():
    for scores in evaluate(HISTORY, OUTCOMES, (0.1,)).windows[0].scores.values():
        assert np.isfinite(scores.calibration_error.value)
        assert np.isnan(scores.calibration_error.low)


def test_forks_are_at_risk_only_once_they_have_started():
    steps = [None if r % 2 else 500 for r in range(len(HISTORY.runs))]
    runs = tuple(replace(run, fork_step=step) for run, step in zip(HISTORY.runs, steps, strict=True))
    early, late = evaluate(replace(HISTORY, runs=runs), OUTCOMES, (0.25, 0.3), only("base_rate")).windows
    assert (early.num_not_started, late.num_not_started) == (50, 0)
    assert not early.scored_R[::2].any()
    assert late.scored_R[::2].any()


def test_a_window_in_which_nothing_was_recorded_is_not_scored():
    blank = {m: a if m.startswith("label_") else np.full_like(a, np.nan) for m, a in HISTORY.values.items()}
    window = evaluate(replace(HISTORY, values=blank), OUTCOMES, (0.1,), only("base_rate")).windows[0]
    assert "nothing was recorded" in window.problem
    assert np.isnan(window.scores["base_rate"].brier.value)
