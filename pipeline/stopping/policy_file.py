"""Policy files: P(converged) at a few windows from what a run has recorded, and the thresholds below which it stops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from pipeline.arrays import Floats
from pipeline.spec.criterion import Criterion
from pipeline.spec.grid import Grid
from pipeline.spec.identity import canonical_json, digest
from pipeline.spec.parameters import Parameters
from pipeline.spec.sections import Converged
from pipeline.store.files import CorruptFileError, read_file, write_file
from pipeline.store.formats.sealed import seal, unseal

POLICY_FORMAT = "seedbed policy 1"


class PolicyColumn(Parameters):
    """One column of a policy: where its value comes from, and how it enters.

    A metric's value is the last finite one up to the window's end, a hyperparameter's is its number, its log10, or 1
    where the `repr` of its value is `level` and else 0. What is missing becomes `fill`; values are clipped to [`low`,
    `high`], `mean` is taken away, and they are divided by `spread`. `at` is the step, up to the window's end, at which
    the metric was last recorded when the policy was made; none of a hyperparameter.
    """

    source: Literal["metric", "hyperparameter"]
    name: str = Field(min_length=1)
    encoding: Literal["linear", "log10", "one_hot"] = "linear"
    level: str | None = None
    at: int | None = Field(None, ge=0)
    fill: float
    low: float
    high: float
    mean: float
    spread: float = Field(gt=0)
    weight: float

    def value_R(self, metrics: Mapping[str, Floats], hyperparameters: Sequence[Mapping[str, Any]]) -> Floats:
        """(R,) the value of each of R runs, NaN where it is missing; `metrics` are last values, (R,) each."""
        if self.source == "metric":
            found_R = metrics.get(self.name, np.full(len(hyperparameters), np.nan))
            return np.where(np.isfinite(found_R), found_R, np.nan)
        values = [run.get(self.name) for run in hyperparameters]
        if self.encoding == "one_hot":
            return np.array([float(repr(value) == self.level) for value in values])
        number_R = np.array([np.nan if value is None else float(value) for value in values])
        return np.log10(number_R) if self.encoding == "log10" else number_R


class PolicyWindow(Parameters):
    """One decision: a run whose P(converged) at `step` is below `threshold` is stopped.

    P(converged) = 1 / (1 + exp(-(intercept + weight . scaled columns))). `share` is that of the budget.
    """

    share: float = Field(gt=0, lt=1)
    step: int = Field(gt=0)
    columns: Annotated[tuple[PolicyColumn, ...], Field(strict=False)]
    intercept: float
    threshold: float = Field(ge=0, le=1)

    def probability_R(self, metrics: Mapping[str, Floats], hyperparameters: Sequence[Mapping[str, Any]]) -> Floats:
        """(R,) P(converged) of R runs, from the last value of each metric, (R,), and their hyperparameters."""
        values_RF = np.empty((len(hyperparameters), len(self.columns)))
        for f, column in enumerate(self.columns):
            values_RF[:, f] = column.value_R(metrics, hyperparameters)
        fill_F, low_F, high_F, mean_F, spread_F, weight_F = self._numbers_6F
        filled_RF = np.where(np.isnan(values_RF), fill_F, values_RF)
        scaled_RF = (np.clip(filled_RF, low_F, high_F) - mean_F) / spread_F
        # einsum without BLAS adds a row up in an order that does not depend on how many rows there are.
        logit_R = np.einsum("rf,f->r", scaled_RF, weight_F, optimize=False) + self.intercept
        return np.asarray(1 / (1 + np.exp(-np.clip(logit_R, -50, 50))), dtype=np.float64)

    @cached_property
    def _numbers_6F(self) -> Floats:
        rows = [[c.fill, c.low, c.high, c.mean, c.spread, c.weight] for c in self.columns]
        return np.array(rows, dtype=np.float64).reshape(-1, 6).T.copy()


class Policy(Parameters):
    """When runs stop: windows in order of step, and what they were fitted to and calibrated on.

    `source` names the sweeps, `settings` are the ids of their settings. Of the `num_convergers` converging runs that
    the threshold was calibrated on, `num_lost` were lost. `is_promised`: of the runs that would converge, in the
    settings that it was calibrated on, at most `lose_at_most` are lost with 95% confidence, and at most
    `expect_at_most`, where given, on average over the calibrating runs.
    """

    source: str
    num_runs: int = Field(ge=0)
    settings: Annotated[tuple[str, ...], Field(strict=False)]
    budget: int = Field(gt=0)
    criterion: Converged
    lose_at_most: float = Field(gt=0, lt=1)
    expect_at_most: float | None = Field(None, gt=0, lt=1)
    is_promised: bool
    num_convergers: int = Field(ge=0)
    num_lost: int = Field(ge=0)
    windows: Annotated[tuple[PolicyWindow, ...], Field(strict=False, min_length=1)]

    @model_validator(mode="after")
    def _in_order(self) -> Policy:
        steps = [window.step for window in self.windows]
        if sorted(set(steps)) != steps or steps[-1] >= self.budget:
            raise ValueError(f"windows must end at increasing steps before the budget ({self.budget}), given {steps}")
        return self

    @property
    def meets(self) -> Criterion:
        """The criterion of convergence that it forecasts."""
        return self.criterion.criterion

    @cached_property
    def content_hash(self) -> str:
        """16 hex digits over everything that it holds."""
        content = self.model_dump()
        if self.expect_at_most is None:
            # So that policies from before there was such a promise keep their hash.
            del content["expect_at_most"]
        return digest("policy", canonical_json(content))

    @cached_property
    def metrics(self) -> frozenset[str]:
        """The names of the metrics that it needs."""
        return frozenset(c.name for window in self.windows for c in window.columns if c.source == "metric")

    def window_at(self, step: int) -> PolicyWindow | None:
        """The window that ends at `step`, if there is one."""
        return next((window for window in self.windows if window.step == step), None)

    def problems(self, budget: int, criterion: Criterion, grid: Grid) -> list[str]:
        """Why it does not fit a sweep of this budget, criterion and grid, a sentence each."""
        found = [
            f"{what}: the policy was made for {there}, this sweep has {here}"
            for what, there, here in (("budget", self.budget, budget), ("converged", self.meets, criterion))
            if there != here
        ]
        for window in self.windows if budget == self.budget else ():
            if window.step not in grid.eval_steps:
                found.append(f"grid: runs are not evaluated at step {window.step}, at which the policy decides")
        return found

    def unread(self, steps_by_metric: Mapping[str, frozenset[int]]) -> list[str]:
        """Why it cannot decide in a sweep that records these metrics at these steps, a sentence each."""
        lacking = sorted(self.metrics - steps_by_metric.keys())
        elsewhere: dict[tuple[int, int | None, int | None], list[str]] = {}
        for window in self.windows:
            for column in window.columns:
                steps = steps_by_metric.get(column.name, frozenset())
                last = max((step for step in steps if step <= window.step), default=None)
                if column.source == "metric" and column.name not in lacking and last != column.at:
                    elsewhere.setdefault((window.step, column.at, last), []).append(column.name)
        found = [f"this sweep does not record {', '.join(lacking)}"] if lacking else []
        return found + [
            f"the policy decides at step {step} by what was recorded at step {at}, and this sweep records last at step "
            f"{last}: {', '.join(names)}"
            for (step, at, last), names in elsewhere.items()
        ]

    def unfit(self, hyperparameters: Mapping[str, Any]) -> list[str]:
        """Why its columns have no number for these hyperparameters, a sentence each."""
        found = []
        columns = [c for c in self.windows[0].columns if c.source == "hyperparameter"]
        for name in dict.fromkeys(column.name for column in columns):
            mine, value = [c for c in columns if c.name == name], hyperparameters.get(name)
            levels = [column.level for column in mine if column.encoding == "one_hot"]
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if levels and repr(value) not in levels:
                found.append(f"{name}: the policy knows {', '.join(map(str, levels))}, and not {value!r}")
            elif not levels and not is_number:
                found.append(f"{name}: the policy needs a number, and not {value!r}")
            elif mine[0].encoding == "log10" and float(value or 0) <= 0:
                found.append(f"{name}: the policy needs a number above 0, and not {value!r}")
        return found


def write_policy(path: Path, policy: Policy) -> None:
    """Writes the policy, sealed with its SHA-256, in place of what was there."""
    write_file(path, seal({"format": POLICY_FORMAT, "policy": policy.model_dump(mode="json")}))


def read_policy(path: Path) -> Policy:
    """The policy of a file, checked: its checksum, its format, and every field.

    Raises ValueError that names the file and what is wrong.
    """
    try:
        document = unseal(read_file(path), path)
        if document.get("format") != POLICY_FORMAT:
            raise ValueError(f"{path}: format must be {POLICY_FORMAT!r}, got {document.get('format')!r}")
        return Policy.model_validate(document.get("policy"))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path}: is no policy: {place}: {first['msg']}") from error
    except (CorruptFileError, OSError) as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
