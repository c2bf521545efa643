"""Baseline in ordinary PyTorch: one run per process and one thread, one seed after another."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import nn

from benchmarks.peers.eager_models import Written, draw, loss_of, model_of
from benchmarks.workloads import RegressionWorkload, Workload

# glibc keeps large buffers in the process, as in seedbed's workers.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
}
_WARM_UP_STEPS = 20
_TRIAL_S = 0.5


@dataclass(frozen=True)
class EagerChoice:
    """Variant of the model and of torch's AdamW. `is_compiled`: through torch.compile, which costs seconds a run."""

    written: Written = field(default_factory=Written)
    optimiser: Literal["fused", "foreach", "forloop"] = "fused"
    is_compiled: bool = False


@dataclass(frozen=True)
class EagerSide:
    """One run at a time, on `device`."""

    workload: Workload
    choice: EagerChoice = field(default_factory=EagerChoice)
    device: str = "cpu"

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that its process must have from the start."""
        return ENVIRONMENT

    def start(self) -> EagerRun:
        """One run, ready to train."""
        torch.set_num_threads(1)
        return EagerRun(self.workload, self.choice, device=self.device)

    def tuned(self) -> EagerSide:
        """The fastest variant with this algebra, measured when called; one to be compiled is tuned without that."""
        if self.choice.is_compiled:
            found = replace(self, choice=replace(self.choice, is_compiled=False)).tuned()
            return replace(found, choice=replace(found.choice, is_compiled=True))
        sides = [replace(self, choice=choice) for choice in _choices(self.workload, self.choice)]
        return max(sides, key=lambda side: side.start().steps_per_second(_TRIAL_S))


class EagerRun:
    """One run in training; each step draws its own batch."""

    width = 1
    steps_per_call = 1

    def __init__(self, workload: Workload, choice: EagerChoice, seed: int = 0, device: str = "cpu") -> None:
        torch.manual_seed(seed)
        self.workload, self.device = workload, device
        self.model = model_of(workload, choice.written).to(device)
        self.optimiser = adamw(workload, self.model, choice)
        self.generator = torch.Generator(device).manual_seed(seed)
        self._apply = torch.compile(self.model) if choice.is_compiled else self.model

    def warm_up(self) -> None:
        """Enough steps to compile and to allocate; not timed."""
        self.run(_WARM_UP_STEPS)

    def run(self, num_steps: int) -> None:
        """Train for `num_steps` more steps."""
        for _ in range(num_steps):
            self._step()
        if self.device == "cuda":
            torch.cuda.synchronize()

    def _step(self) -> None:
        inputs, targets = draw(self.workload, self.workload.batch_size, self.generator)
        loss = loss_of(self.workload, self._apply(inputs), targets)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.workload.optimiser.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.workload.optimiser.clip)
        self.optimiser.step()

    def steps_per_second(self, seconds: float) -> float:
        """Steps per second over at least `seconds` of whole steps, after a warm-up."""
        self.warm_up()
        steps, begin = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - begin) < seconds:
            self.run(5)
            steps += 5
        return steps / elapsed


def adamw(workload: Workload, model: nn.Module, choice: EagerChoice) -> torch.optim.AdamW:
    """torch's AdamW with the workload's hyperparameters, in the chosen implementation."""
    wanted = workload.optimiser
    forms: dict[str, dict[str, Any]] = {
        "fused": {"fused": True},
        "foreach": {"foreach": True},
        "forloop": {"foreach": False},
    }
    return torch.optim.AdamW(
        model.parameters(),
        lr=wanted.lr,
        betas=(wanted.beta1, wanted.beta2),
        eps=wanted.eps,
        weight_decay=wanted.weight_decay,
        **forms[choice.optimiser],
    )


def _choices(workload: Workload, given: EagerChoice) -> list[EagerChoice]:
    optimisers: tuple[Literal["fused", "foreach"], ...] = ("fused", "foreach")
    written = [given.written]
    if not isinstance(workload, RegressionWorkload):
        projections: tuple[Literal["together", "separate"], ...] = ("together", "separate")
        attention: tuple[Literal["sdpa", "products"], ...] = ("sdpa", "products")
        written = [
            replace(given.written, projections=how, attention=by)
            for how, by in itertools.product(projections, attention)
        ]
    return [replace(given, written=how, optimiser=form) for how, form in itertools.product(written, optimisers)]
