"""The smaller sections of a spec: grid, criterion, snapshots, resources, tracking."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_serializer,
    model_validator,
)

from pipeline.arrays import Ints
from pipeline.spec import grid as grids
from pipeline.spec.criterion import Criterion
from pipeline.spec.parameters import Parameters
from pipeline.spec.registered import Problem, located

Steps = Annotated[tuple[int, ...], Field(strict=False, max_length=grids.MAX_POINTS)]
WINDOWS_WORD = "windows"


def _steps_or_word(value: Any, steps: ValidatorFunctionWrapHandler) -> Any:
    if isinstance(value, str) and value != WINDOWS_WORD:
        raise ValueError(f"should be a list of steps, or the word {WINDOWS_WORD}, given {value!r}")
    return value if value == WINDOWS_WORD else steps(value)


if TYPE_CHECKING:
    KeptSteps = tuple[int, ...] | Literal["windows"]
else:
    KeptSteps = Annotated[Steps, WrapValidator(_steps_or_word), PlainSerializer(lambda value: value)]
MAX_STEPS = 2**40
Budget = Annotated[int, Field(gt=0, le=MAX_STEPS)]
DEFAULT_WINDOWS = (0.0, 0.05, 0.1, 0.25, 0.5)


def _increasing(shares: tuple[float, ...]) -> tuple[float, ...]:
    for index, (earlier, later) in enumerate(itertools.pairwise(shares), start=1):
        if later <= earlier:
            raise located([((index,), f"shares of the budget must increase, given {later:g} after {earlier:g}", later)])
    return shares


Share = Annotated[float, Field(ge=0, lt=1)]
WindowShares = Annotated[
    tuple[Share, ...], Field(strict=False, max_length=grids.MAX_POINTS), AfterValidator(_increasing)
]


class GridSpec(Parameters):
    """Steps at which runs are evaluated and probed. Explicit steps override the defaults.

    `eval_every` None: every chunk. `probe_every` None: dense in the first chunk, log-spaced afterwards; else step 0 and
    its multiples. `eval_items` and `probe_items` count examples.
    """

    chunk: int = Field(50, gt=0, le=MAX_STEPS)
    eval_every: int | None = Field(None, gt=0, le=MAX_STEPS)
    eval_items: int = Field(512, gt=0, lt=2**31)
    probe_items: int = Field(128, gt=0, lt=2**31)
    probe_every: int | None = Field(None, gt=0, le=MAX_STEPS)
    probe_steps: Steps | None = None
    eval_steps: Steps | None = None

    def resolved(self, budget: int, largest: int | None = None) -> grids.Grid:
        """The arrays for runs of this budget. Listed steps may reach `largest` (None: `budget`), and end at `budget`.

        Raises ValueError (pydantic's, with the places of all mistakes) if they do not fit.
        """
        problems: list[Problem] = []
        if budget % self.chunk:
            low = max(self.chunk, budget - budget % self.chunk)
            near = f"try {low} or {low + self.chunk}"
            message = f"should be a multiple of grid.chunk ({self.chunk}), given {budget}; {near}"
            raise located([(("budget",), message, budget)])
        for name in ("eval", "probe"):
            place, interval = f"{name}_every", getattr(self, f"{name}_every")
            if interval is not None and getattr(self, f"{name}_steps") is not None:
                problems.append((("grid", place), f"has no effect beside {name}_steps; leave one out", interval))
            elif interval is not None and interval % self.chunk:
                message = f"should be a multiple of grid.chunk ({self.chunk}), given {interval}"
                problems.append((("grid", place), message, interval))
        if problems:
            raise located(problems)
        steps = {}
        for name in ("eval", "probe"):
            try:
                steps[name] = self._steps(name, budget, largest or budget)
            except ValueError as error:
                is_listed = getattr(self, f"{name}_steps") is not None
                place = f"{name}_steps" if is_listed else f"{name}_every"
                problems.append((("grid", place), str(error), getattr(self, place)))
        if problems:
            raise located(problems)
        return grids.Grid(self.chunk, steps["eval"], steps["probe"])

    def _steps(self, name: str, budget: int, largest: int) -> Ints:
        steps, interval = getattr(self, f"{name}_steps"), getattr(self, f"{name}_every")
        if steps is not None:
            first = self.chunk if name == "eval" else 0
            return grids.up_to(budget, grids.listed(steps, self.chunk, largest, first))
        if name == "eval":
            return grids.every(interval or self.chunk, budget)
        if interval is None:
            return grids.dense_then_logarithmic(self.chunk, budget)
        return np.concatenate([[0], grids.every(interval, budget)])


class MetricBound(Parameters):
    """A bound that a recorded `metric` satisfies at `evaluations` successive steps at which it was recorded."""

    metric: str = Field(min_length=1, max_length=128)
    at_most: float | None = None
    at_least: float | None = None
    evaluations: int = Field(2, ge=1)

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            given = "neither" if self.at_most is None else "both"
            raise ValueError(f"needs exactly one of at_most, at_least, given {given}")
        return self

    @model_serializer(mode="plain")
    def _only_the_bound_given(self) -> dict[str, Any]:
        bound = {"at_least": self.at_least} if self.at_most is None else {"at_most": self.at_most}
        return {"metric": self.metric, **bound, "evaluations": self.evaluations}

    @property
    def criterion(self) -> Criterion:
        """The same as a criterion that outcomes are decided by."""
        return Criterion(self.metric, self.at_most, self.at_least, self.evaluations)


class Converged(MetricBound):
    """A run has converged when `metric` satisfies its bound at `evaluations` successive eval_steps."""

    metric: Literal["label_excess", "label_loss", "label_accuracy"] = "label_excess"


# Beyond so many runs their last states, and their last maps, take more room than all that was recorded.
MOST_STATES, MOST_MAPS = 100_000, 1_000


class Snapshots(Parameters):
    """Steps at which training states, weights alone and attention maps are kept, 0 and multiples of the chunk.

    Each is a list, or the word `windows` for the steps of the sweep's windows. None: none beside what is kept of a
    run's last step. A fork or a replay starts from a state, which holds the optimiser's moments too; weights alone can
    be read and are a fraction of its size.

    `last` is what is kept at the end of a run, by default the state in sweeps of up to MOST_STATES runs, and nothing in
    larger ones. Where `attention` is None, MOST_MAPS runs or so keep their last maps, drawn by their ids.
    """

    states: KeptSteps | None = None
    weights: KeptSteps | None = None
    attention: KeptSteps | None = None
    last: Literal["state", "weights", "nothing"] | None = None

    def at_the_end(self, num_runs: int) -> Literal["state", "weights", "nothing"]:
        """What is kept of a run that ends, in a sweep of so many."""
        return self.last or ("state" if num_runs <= MOST_STATES else "nothing")

    def maps_at_the_end(self, num_runs: int) -> int:
        """One in so many runs of such a sweep keeps its last maps; 0 for none beside those at the steps given."""
        return 0 if self.attention is not None else max(1, -(-num_runs // MOST_MAPS))

    def resolved(
        self, chunk: int, budget: int, window_steps: tuple[int, ...], largest: int | None = None
    ) -> dict[str, tuple[int, ...]]:
        """{"states": steps, "weights": steps, "attention": steps} of runs of this budget; an empty list stays empty.

        Listed steps may reach `largest` (None: `budget`), and end at `budget`. Raises ValueError as GridSpec does.
        """
        given = {name: getattr(self, name) for name in ("states", "weights", "attention")}
        problems: list[Problem] = []
        for name, steps in given.items():
            if steps == WINDOWS_WORD and not window_steps:
                problems.append((("snapshots", name), "has no effect: the sweep has no windows", steps))
            elif steps is not None and steps != WINDOWS_WORD:
                found = chunk_ends(steps, chunk, largest or budget)
                problems += [(("snapshots", name, *place), message, step) for place, message, step in found]
        if problems:
            raise located(problems)
        return {
            name: window_steps if steps == WINDOWS_WORD else _up_to(budget, steps or ())
            for name, steps in given.items()
        }


class Resources(Parameters):
    """Resources of a pack. `slots` None: chosen at planning.

    `slots` is the number of runs computed together. `engine` auto: a compiled program on CPUs if all parts of a run
    have one and g++ is available, else torch. `instruction_set` is that of compiled programs; auto: the largest of the
    machine that plans. Sixteen numbers fill a vector of x86-64-v4 (AVX-512), eight one of x86-64-v3 (AVX2). A machine
    computes programs of its own and smaller sets, so a cluster of unlike processors needs the smallest that they have.
    `matmul_precision`: bf16 and tf32 are faster on GPUs and less exact; on CPUs bf16 serves to measure its effect on
    outcomes. `workers` is how many train at a time, for which a plan has packs; None: as many as the machine that
    plans, or the cluster, has room for.
    """

    engine: Literal["auto", "torch", "compiled"] = "auto"
    instruction_set: Literal["auto", "x86-64-v4", "x86-64-v3", "x86-64"] = "auto"
    matmul_precision: Literal["float32", "tf32", "bf16"] = "float32"
    slots: int | None = Field(None, gt=0, le=2**20)
    cpus_per_pack: float = Field(1.0, ge=0)
    gpus_per_pack: float = Field(0.0, ge=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(1, gt=0, le=4096)
    workers: int | None = Field(None, gt=0, le=2**20)
    share_with_group: bool = False

    @model_validator(mode="after")
    def _has_an_effect(self) -> Resources:
        if self.instruction_set != "auto" and self.engine == "torch":
            message = "has no effect with engine torch, which compiles nothing; leave one out"
            raise located([(("instruction_set",), message, self.instruction_set)])
        return self


class Tracking(Parameters):
    """What is written to wandb.

    `detail` auto: one wandb run per run up to `max_runs` runs, above that one per setting beside representatives.
    `readings`: numbers read from weights at windows are written, too.
    """

    mode: Literal["offline", "online", "disabled"] = "offline"
    project: str = Field("seedbed", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    entity: str | None = Field(None, pattern=r"^[A-Za-z0-9._-]{1,64}$")
    detail: Literal["auto", "runs", "aggregates"] = "auto"
    max_runs: int = Field(500, gt=0, le=100_000)
    readings: bool = False


def _up_to(budget: int, steps: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(step for step in steps if step <= budget)


def chunk_ends(steps: tuple[int, ...], chunk: int, last: int) -> Iterator[Problem]:
    """Problems that keep `steps` from being increasing multiples of `chunk` in [0, `last`]."""
    for index, step in enumerate(steps):
        if not 0 <= step <= last or step % chunk:
            yield (index,), f"should be a multiple of grid.chunk ({chunk}) from 0 to {last}, given {step}", step
        elif index and step <= steps[index - 1]:
            yield (index,), f"steps must increase, given {step} after {steps[index - 1]}", step
