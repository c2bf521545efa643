"""A block: slots of equal static hyperparameters, trained together on one device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.engine.compiled_engine import CompiledEngine
from pipeline.engine.norms import norm
from pipeline.engine.program import engines_here, program_for
from pipeline.engine.slots import Slots
from pipeline.engine.torch_engine import TorchEngine
from pipeline.spec.run_config import RunConfig


class Engine(Protocol):
    """Interface of the engines. Results are (n, ...) for n `slots`, float64 or the block's dtype, on its device.

    Evaluated is on the first `num_items` of the label set, probed on those of the statistics set.
    """

    def train(self, num_steps: int, slots: Sequence[int]) -> None:
        """Run `num_steps` optimiser steps on these slots; others may advance too."""
        ...

    def evaluate(self, num_items: int, slots: Sequence[int]) -> dict[str, Tensor]:
        """Mean loss, and accuracy and reference_loss where the task has them, (n,) each, at each slot's step."""
        ...

    def probe(self, num_items: int, slots: Sequence[int]) -> dict[str, Tensor]:
        """Metric name -> (n,): loss, attention, and the probes of task and model, on the items of step 0."""
        ...

    def attention_maps(self, num_items: int, slots: Sequence[int]) -> list[Tensor]:
        """Per layer (n, num_items, H, L, L), on the items of step 0."""
        ...


class Block(Slots):
    """Trains, evaluates and probes the runs in its slots.

    `engine` is that of the numerics: "torch", or the name of a toolchain, whose compiled program does the arithmetic.
    Every method computes with the block's own threads and matmul precision, and restores the process's settings
    afterwards.
    """

    def __init__(
        self,
        template: RunConfig,
        num_slots: int,
        device: torch.device,
        engine: str = "torch",
        *,
        threads: int = 1,
        matmul_precision: str = "float32",
    ) -> None:
        super().__init__(template, num_slots, device, threads, matmul_precision)
        self.engine_name = engine
        self.engine: Engine = TorchEngine(self) if engine == "torch" else self._compiled_engine()

    def _compiled_engine(self) -> CompiledEngine:
        instruction_set = engines_here().get(self.engine_name)
        assert instruction_set is not None, f"{self.engine_name} was planned, and this machine cannot compute it"
        program = program_for(self.template, instruction_set)
        assert program is not None, "a compiled program was planned, and none is available"
        return CompiledEngine(self, program)

    def train(self, num_steps: int, slots: Sequence[int] | None = None) -> None:
        """Run `num_steps` optimiser steps on these slots (None: all); others may advance too."""
        with self.numerics():
            self.engine.train(num_steps, self._slots(slots))

    def evaluate(self, num_items: int, slots: Sequence[int] | None = None) -> dict[str, Tensor]:
        """label_loss, label_accuracy, label_excess (and label_reference_loss), (n,) each, on items fresh at each step.

        Excess is (loss - reference) / (chance - floor), the reference being the task's explicit best predictor on the
        same items, or its floor.
        """
        with self.numerics():
            found = self.engine.evaluate(num_items, self._slots(slots))
        metrics = {f"label_{name}": value for name, value in found.items()}
        floor, chance = self.task.floor_loss(), self.task.chance_loss()
        reference: Tensor | float = metrics.get("label_reference_loss", floor)
        metrics["label_excess"] = (metrics["label_loss"] - reference) / (chance - floor)
        return metrics

    def probe(self, num_items: int, slots: Sequence[int] | None = None) -> dict[str, Tensor]:
        """Metric name -> (n,), on `num_items` items that depend on the task alone and are the same at every step."""
        rows = self._slots(slots)
        with self.numerics():
            return self._weight_probes(rows) | self.engine.probe(num_items, rows)

    @torch.no_grad()
    def _weight_probes(self, rows: list[int]) -> dict[str, Tensor]:
        chosen = torch.tensor(rows, device=self.device)
        weights_SP = self.layout.only_parameters(self.weights_SP.index_select(0, chosen))
        last = torch.stack(list(self.last.values())).index_select(1, chosen)
        found = dict(zip(self.last, last, strict=True))
        found["weight_norm"] = norm(weights_SP)
        found["init_distance"] = norm(weights_SP - self.layout.only_parameters(self.initial_SP.index_select(0, chosen)))
        return found

    def parameters_of(self, slots: Sequence[int]) -> dict[str, Tensor]:
        """Name -> (n, rows, columns): copies of the parameters of these slots, on the CPU."""
        chosen = torch.tensor(list(slots), device=self.device)
        with torch.no_grad():
            return self.layout.views(self.weights_SP.index_select(0, chosen).cpu())

    def attention_maps(self, num_items: int, slots: Sequence[int] | None = None) -> list[Tensor]:
        """Attention maps per layer, (n, num_items, H, L, L), on the first items of the statistics set."""
        with self.numerics():
            return self.engine.attention_maps(num_items, self._slots(slots))

    def _slots(self, slots: Sequence[int] | None) -> list[int]:
        return list(range(self.num_slots)) if slots is None else [int(slot) for slot in slots]


def to_host(*measured: Mapping[str, Tensor]) -> list[dict[str, NDArray[np.float64]]]:
    """Copy metrics to the host as float64 arrays (n,), in one transfer; n may differ between the mappings."""
    values = [value.detach().double() for metrics in measured for value in metrics.values()]
    if not values:
        return [{} for _ in measured]
    numbers = torch.cat(values).cpu().numpy()
    parts = iter(np.split(numbers, np.cumsum([len(value) for value in values])[:-1]))
    return [{name: next(parts) for name in metrics} for metrics in measured]
