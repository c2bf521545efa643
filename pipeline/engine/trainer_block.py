"""A block of one slot whose run a Trainer of Lightning trains, with hooks, callbacks and optimisers of its own."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.engine.block import Block
from pipeline.engine.norms import norm
from pipeline.engine.slots import RunState, SlotArrays, StackedStates
from pipeline.models._lightning import examples_of
from pipeline.models._lightning_trainer import LightningTrainer
from pipeline.numerics.streams import Draws
from pipeline.spec.run_config import RunConfig

if TYPE_CHECKING:
    from pipeline.models._lightning_fit import Fit, LastStep, Step

# The array of a run's state that holds the Trainer's checkpoint, as bytes; empty before the first step.
TRAINER = "trainer"
_NO_BYTES = np.zeros(0, np.uint8)


class TrainerBlock(Block):
    """Trains one run under its own Trainer; evaluates and probes it as the torch engine does.

    The weights of its slot are copies of the module's, made after every call of `train`. A run's state holds the
    Trainer's checkpoint too, from which a fit goes on wherever a state is put into the slot. Of a module whose
    training_step returns no loss, train_loss is not measured.
    """

    def __init__(
        self, template: RunConfig, device: torch.device, *, threads: int = 1, matmul_precision: str = "float32"
    ) -> None:
        assert isinstance(template.model, LightningTrainer)
        self._model: LightningTrainer = template.model
        self._checkpoint = b""
        self._fit: tuple[nn.Module, Fit] | None = None
        self._has_loss = True
        super().__init__(template, 1, device, threads=threads, matmul_precision=matmul_precision)
        self.engine_name = self._model.own_engine()

    def train(self, num_steps: int, slots: Sequence[int] | None = None) -> None:
        """Run `num_steps` steps, each of one batch."""
        with self.numerics():
            if self._fit is None:
                self._fit = self._begun()
            module, fit = self._fit
            self._advance(module, fit, num_steps - 1)
            before_1P = self.weights_SP.detach().clone()
            last = self._advance(module, fit, 1)
            self._has_loss = last.loss is not None
            self.last["train_loss"].fill_(float("nan") if last.loss is None else last.loss)
            self.last["grad_norm"].fill_(last.grad_norm)
            with torch.no_grad():
                self.last["update_norm"].copy_(norm(self.layout.only_parameters(self.weights_SP - before_1P)))

    def _begun(self) -> tuple[nn.Module, Fit]:
        clip = float(self.columns["clip"][0])
        parameters = {name: value[0].detach() for name, value in self.parameters.items()}
        return self._model.fit(parameters, None if clip == float("inf") else clip, self._checkpoint or None)

    def _advance(self, module: nn.Module, fit: Fit, num_steps: int) -> LastStep:
        first = int(self.steps_S[0])
        last = fit.advance(self._batch(step) for step in range(first, first + num_steps))
        own = module.state_dict()
        with torch.no_grad():
            for name, value in self.parameters.items():
                value.copy_(own[name].view(value.shape))
        self.steps_S += num_steps
        self._checkpoint = b""
        return last

    def _batch(self, step: int) -> Step:
        """The run's batch at a step, and the seed of what the module draws in it."""
        steps_S = torch.full_like(self.steps_S, step)
        (example,) = examples_of(self.sample("train", steps_S, self.template.batch_size), self.task, [step])
        return self._model.step(example, int(Draws(self.keys["noise"], steps_S, 1).words(1, 0)))

    def load_runs(self, runs: Mapping[int, tuple[RunConfig, RunState]]) -> None:
        """Put a run into the slot, at the state's step; its fit begins with its next step."""
        super().load_runs(runs)
        for _, state in runs.values():
            self._go_on_from(np.asarray(state.arrays.get(TRAINER, _NO_BYTES)).tobytes())

    def unload_run(self, slot: int) -> None:
        """End the fit of a run that has ended, with its last hooks; errors of those are told, and change no result."""
        if self._fit is not None:
            _, fit = self._fit
            self._fit = None
            try:
                fit.close()
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
                warnings.warn(f"{self._model.module}: its last hooks raise {said}", stacklevel=2)

    def _go_on_from(self, checkpoint: bytes) -> None:
        self._fit, self._checkpoint = None, checkpoint

    def _now(self) -> bytes:
        """The Trainer's checkpoint of this step."""
        if not self._checkpoint and self._fit is not None:
            self._checkpoint = self._fit[1].checkpoint() or b""
        return self._checkpoint

    def stacked_states(self, slots: Sequence[int]) -> StackedStates:
        """The state of the run, the Trainer's checkpoint included."""
        states = super().stacked_states(slots)
        return StackedStates(states.steps, {**states.arrays, TRAINER: np.frombuffer(self._now(), np.uint8)[None]})

    def copy(self, slots: Sequence[int] | None = None) -> SlotArrays:
        """A copy of what the slot holds; the Trainer's checkpoint comes first."""
        checkpoint = np.frombuffer(self._now(), np.uint8)
        return [torch.from_numpy(checkpoint.copy())[None], *super().copy(slots)]

    def put(self, arrays: SlotArrays, rows: Mapping[int, int]) -> None:
        """What the slot holds from now on."""
        checkpoint, *rest = arrays
        super().put(rest, rows)
        self._go_on_from(checkpoint[0].numpy().tobytes())

    def state_in(self, arrays: SlotArrays, row: int) -> RunState:
        """The state of the run in a `copy`."""
        checkpoint, *rest = arrays
        state = super().state_in(rest, row)
        return RunState(state.step, {**state.arrays, TRAINER: checkpoint[0].numpy().copy()})

    def _finite_rows(self) -> Tensor:
        # A module whose training_step gives no loss has none that could be finite.
        return super()._finite_rows() if self._has_loss else torch.isfinite(self.weights_SP).all(1)

    def _weight_probes(self, rows: list[int]) -> dict[str, Tensor]:
        found = super()._weight_probes(rows)
        return found if self._has_loss else {name: value for name, value in found.items() if name != "train_loss"}
