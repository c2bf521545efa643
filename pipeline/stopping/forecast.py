"""Stop runs whose forecast at a window says that they will hardly converge, but for a control share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BeforeValidator, model_validator

from pipeline.arrays import Floats
from pipeline.spec.criterion import Criterion
from pipeline.spec.grid import Grid
from pipeline.spec.parameters import static
from pipeline.stopping.after_convergence import AfterConvergence
from pipeline.stopping.base import RunPrefix, StoppingRule
from pipeline.stopping.policy_file import Policy, PolicyColumn, PolicyWindow, read_policy


def _content(given: Any) -> Any:
    """The policy of a file, for its path; anything else unchanged."""
    return read_policy(Path(given)) if isinstance(given, str) else given


class StopByForecast(StoppingRule):
    """Ends a run at the first window of a policy at which its P(converged) is below the window's threshold.

    `predictor` is a policy file (see `seedbed policy --out`); its content becomes part of the sweep's identity and is
    stored with it. `lose_at_most` must be what the file was calibrated for. A share `control_share` of the runs, drawn
    by a hash of `salt` and run id, is never stopped so: by them the rule can be judged. A run whose last evaluation met
    the criterion is not stopped, since a streak may have begun. Converged runs end `evaluations` evaluations after
    their streak, as under `after_convergence`.
    """

    name = "forecast"
    reason: ClassVar[str] = "stopped"

    predictor: Annotated[Policy, BeforeValidator(_content)] = static()
    lose_at_most: float = static(0.01, gt=0, lt=1)
    control_share: float = static(0.05, ge=0, lt=1)
    salt: int = static(0, ge=0)
    evaluations: int = static(2, ge=0)

    @model_validator(mode="after")
    def _as_calibrated(self) -> StopByForecast:
        if self.lose_at_most != self.predictor.lose_at_most:
            raise ValueError(
                f"lose_at_most is {self.lose_at_most:g}, and the policy was calibrated for "
                f"{self.predictor.lose_at_most:g}; make another with `seedbed policy --lose-at-most`"
            )
        return self

    def should_stop(self, prefix: RunPrefix) -> bool:
        """True past convergence as under `after_convergence`, and where the policy says so of a run not in control."""
        if prefix.converged_index is not None:
            return AfterConvergence(evaluations=self.evaluations).should_stop(prefix)
        return not self.is_control(prefix.run_id) and self.would_stop(prefix)

    def reason_of(self, prefix: RunPrefix) -> str:
        """Converged where the run has, else stopped."""
        return "stopped" if prefix.converged_index is None else "converged"

    def would_stop(self, prefix: RunPrefix) -> bool:
        """Whether the policy stops this run at its newest evaluation, were it not in the control share."""
        if not len(prefix.eval_steps_E) or prefix.converged_index is not None:
            return False
        step = int(prefix.eval_steps_E[-1])
        window, criterion = self.predictor.window_at(step), self.predictor.meets
        if window is None or _meets(criterion, prefix, step):
            return False
        return bool(window.probability_R(_last_values(window, prefix), [prefix.hyperparameters])[0] < window.threshold)

    def is_control(self, run_id: str) -> bool:
        """Whether a run is of the control share; the same whenever and wherever it is asked."""
        drawn = int.from_bytes(hashlib.sha256(f"{self.salt}:{run_id}".encode()).digest()[:8], "big")
        return drawn < self.control_share * 2**64

    def problems(self, budget: int, criterion: Criterion, grid: Grid) -> list[tuple[str, str]]:
        """As of the policy, at `predictor`."""
        return [("predictor", problem) for problem in self.predictor.problems(budget, criterion, grid)]

    def metrics_needed(self) -> frozenset[str]:
        """Those of the policy's columns."""
        return frozenset(self.predictor.metrics)

    def unread(self, steps_by_metric: Mapping[str, frozenset[int]]) -> list[str]:
        """As of the policy."""
        return self.predictor.unread(steps_by_metric)

    def unfit(self, hyperparameters: dict[str, Any]) -> list[str]:
        """As of the policy."""
        return self.predictor.unfit(hyperparameters)

    def doubts(self, setting_ids: frozenset[str]) -> list[str]:
        """That some settings are not among those that the policy was calibrated on, and that no run is in control."""
        num_new = len(setting_ids - set(self.predictor.settings))
        found = []
        if num_new:
            found.append(
                f"{num_new} of {len(setting_ids)} settings are not among those that the policy was calibrated on: what "
                "it promises is not for them"
            )
        if not self.control_share:
            found.append("no run is in control, so what the rule loses cannot be known afterwards")
        return found

    def in_words(self) -> str:
        """Where it decides, by which policy, what that promises, and who is spared."""
        policy = self.predictor
        steps = ", ".join(str(window.step) for window in policy.windows)
        low, high = (f"{policy.windows[w].threshold:.3g}" for w in (0, -1))
        levels = low if low == high else f"{low} (step {policy.windows[0].step}) to {high}"
        promise = (
            f"to lose at most {policy.lose_at_most:.2g} of the converging runs with 95% confidence"
            if policy.is_promised
            else f"to have lost at most {policy.lose_at_most:.2g} of them, which promises nothing"
        )
        if policy.expect_at_most is not None:
            promise += f" and {policy.expect_at_most:.2g} on average"
        return (
            f"at steps {steps}, runs whose P(converged) is below {levels} are stopped; policy "
            f"{policy.content_hash}, learned from {policy.num_runs} runs of {policy.source} and calibrated on "
            f"{policy.num_convergers} that converged, {policy.num_lost} of them lost, {promise}; a control share of "
            f"{self.control_share:.2g} is never stopped; converged runs end {self.evaluations} evaluations later"
        )

    @classmethod
    def tiny(cls) -> StopByForecast:
        """One that stops runs with a probe loss above 0.5 at step 100 of 1000, or after it."""
        column = PolicyColumn(
            source="metric",
            name="probe_loss",
            at=100,
            fill=1.0,
            low=-10.0,
            high=10.0,
            mean=0.5,
            spread=1.0,
            weight=-5.0,
        )
        windows = tuple(
            PolicyWindow(share=step / 1000, step=step, columns=(column,), intercept=0.0, threshold=0.5)
            for step in (100, 200)
        )
        criterion = {"metric": "label_excess", "at_most": 0.02, "evaluations": 2}
        counts = {"num_runs": 1000, "num_convergers": 500, "num_lost": 1, "lose_at_most": 0.01, "is_promised": True}
        about = {"source": "tests", "settings": (), "budget": 1000, "criterion": criterion}
        return cls(predictor=Policy.model_validate({**about, **counts, "windows": windows}), control_share=0.0)


def _meets(criterion: Criterion, prefix: RunPrefix, step: int) -> bool:
    """Whether the evaluation at `step` met the criterion."""
    at_step_T = prefix.steps_T == step
    values_T = prefix.values.get(criterion.metric, np.full(len(prefix.steps_T), np.nan))
    return bool(criterion.satisfied(values_T[at_step_T]).any())


def _last_values(window: PolicyWindow, prefix: RunPrefix) -> dict[str, Floats]:
    """Metric -> (1,) its last finite value up to the window's end."""
    upto_T = prefix.steps_T <= window.step
    found = {}
    for column in window.columns:
        if column.source == "metric" and column.name in prefix.values:
            values_T = prefix.values[column.name][upto_T]
            found[column.name] = values_T[np.isfinite(values_T)][-1:]
    return {name: values_1 for name, values_1 in found.items() if len(values_1)}
