"""What a rule that stops runs by forecasts did on a sweep that ran under it, by its control share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.forecasting.control_share import control_runs, rule_stops_R
from analysis.outcomes.outcomes import CENSORED, CONVERGED, Outcomes
from analysis.stopping.promise import CONFIDENCE, fewest_convergers
from analysis.uncertainty.exact import clopper_pearson_upper
from analysis.uncertainty.intervals import json_safe
from pipeline.stopping.forecast import StopByForecast
from pipeline.store.history import History


@dataclass(frozen=True)
class StoppingAudit:
    """Counts of a sweep under the rule, and what they say of the share of converging runs that it loses.

    Of `num_runs` runs `num_stopped` were stopped, `num_converged` converged. Of `num_control` control runs, which are
    never stopped, `num_control_converged` converged; of `num_control_would` that the rule would have stopped,
    `num_control_lost` converged. `run_steps` were run. `steps_left` are those from the stops to the budget, and
    `steps_saved` the part of them that the stopped runs would have run: where control runs that would have been stopped
    ended before the budget, their share of such steps is taken off.
    """

    sweep: str
    policy: str
    lose_at_most: float
    num_runs: int
    num_stopped: int
    num_converged: int
    num_control: int
    num_control_converged: int
    num_control_would: int
    num_control_lost: int
    run_steps: int
    steps_left: int
    steps_saved: float

    @classmethod
    def of(cls, history: History, outcomes: Outcomes, rule: StopByForecast) -> StoppingAudit:
        """The audit of a finished sweep. Raises ValueError where runs still train."""
        stopped_R = np.array([end.reason == "stopped" for end in history.ends], dtype=bool)
        num_open = int(((outcomes.kind_R == CENSORED) & ~stopped_R).sum())
        if num_open:
            raise ValueError(f"{num_open} of {len(history.runs)} runs have no outcome yet and were not stopped")
        end_R, stop_R = np.array([end.step for end in history.ends], dtype=np.float64), rule_stops_R(history, rule)
        control_R, converged_R = control_runs(history, rule), outcomes.kind_R == CONVERGED
        would_R = control_R & np.isfinite(stop_R)
        left = float((history.budget - end_R)[stopped_R].sum())
        could = float((history.budget - stop_R[would_R]).sum())
        went_on = float((end_R - stop_R)[would_R].sum()) / could if could else 1.0
        return cls(
            history.name,
            rule.predictor.content_hash,
            rule.lose_at_most,
            len(history.runs),
            int(stopped_R.sum()),
            int(converged_R.sum()),
            int(control_R.sum()),
            int((control_R & converged_R).sum()),
            int(would_R.sum()),
            int((would_R & converged_R).sum()),
            int(end_R.sum()),
            int(left),
            left * went_on,
        )

    @property
    def lost_upper(self) -> float:
        """The 95% upper bound (Clopper and Pearson) of the share of converging runs that the rule loses.

        Control runs that converge are a sample of all that would, and so many of them would have been stopped.
        """
        return clopper_pearson_upper(self.num_control_lost, self.num_control_converged, CONFIDENCE)

    @property
    def saved_share(self) -> float:
        """Share of the run-steps without the rule that was not run."""
        return self.steps_saved / (self.run_steps + self.steps_saved) if self.run_steps else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Plain values; null where a number is undefined."""
        plain = json_safe({**vars(self), "lost_upper": self.lost_upper, "saved_share": self.saved_share})
        assert isinstance(plain, dict)
        return plain

    def sentences(self) -> tuple[str, ...]:
        """What was saved, what was lost as far as the control runs say, and how far that is."""
        bound = (
            f"of the {self.num_control_converged} control runs that converged the rule would have stopped "
            f"{self.num_control_lost}: so with {CONFIDENCE:.0%} confidence it loses at most {self.lost_upper:.2g} of "
            "the converging runs"
        )
        if self.lost_upper > self.lose_at_most:
            bound += (
                f". That is all that {self.num_control_converged} can say: to show a share of at most "
                f"{self.lose_at_most:.2g} takes {fewest_convergers(self.lose_at_most)} control runs that converged, "
                "none of them lost"
            )
        return (
            f"{self.sweep}: ran under policy {self.policy}; {self.num_stopped} of {self.num_runs} runs were stopped, "
            f"{self.num_converged} converged",
            f"saved: about {self.steps_saved:,.0f} run-steps, {self.saved_share:.2g} of those without the rule "
            f"({self.run_steps:,} were run)",
            f"control: {self.num_control} runs were never to be stopped; the rule would have stopped "
            f"{self.num_control_would} of them, of which {self.num_control_lost} converged",
            bound,
        )
