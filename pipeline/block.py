"""A block: `width` slots of equal static hyperparameters, trained together on one device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.layout import Layout, stream_names
from pipeline.models.base import Output
from pipeline.optim import OPTIMISERS, clip, norm, scheduled_fraction
from pipeline.runs import RunConfig
from pipeline.streams import Draws, stream_key
from pipeline.tasks.base import Batch

# Items of an evaluation are computed in pieces of at most this many, the same at every width.
_EVALUATION_PIECE = 512

Array = NDArray[np.generic]


@dataclass(frozen=True)
class RunState:
    """Everything that training one run from `step` on depends on, besides its config: host arrays by name.

    `weights`, `initial_weights` and the optimiser's moments are flat, without padding, in the order of the model's
    parameter specs; its scalars have shape (), and so have the last step's `train_loss`, `grad_norm`, `update_norm`.
    """

    step: int
    arrays: Mapping[str, Array]


class Block:
    """Slots 0..width-1, each holding a run at its own step, with its own streams and vector hyperparameters.

    All arrays are (S, ...), slot axis first. The block is always computed whole: a slot whose run has ended goes on
    computing until another is placed there, and nobody looks. At first every slot holds `template`.
    """

    LAST = ("train_loss", "grad_norm", "update_norm")

    def __init__(self, template: RunConfig, width: int, device: torch.device) -> None:
        self.template, self.width, self.device = template, width, device
        self.task, self.model = template.task, template.model
        self.dtype: torch.dtype = getattr(torch, template.dtype)
        self.layout = Layout(self.model.parameter_specs(self.task.interface()), self.dtype)
        self.optimiser = OPTIMISERS[template.optimiser.name]
        self.steps_S = torch.zeros(width, dtype=torch.int64, device=device)
        self.weights_SP = self._rows()
        self.initial_SP = self._rows()
        self.grad_SP = self._rows()
        self.state = {name: self._rows() for name in self.optimiser.moments}
        self.state |= {name: self._numbers(self.optimiser.start(name)) for name in self.optimiser.scalars}
        self.last = {name: self._numbers(float("nan")) for name in self.LAST}
        self.keys = {name: self.steps_S.new_zeros(width, 2) for name in self.task.streams}
        self.columns = {name: self._numbers(0.0).unsqueeze(1) for name in _optimiser_vectors(template)}
        self.task_vectors = {name: self._numbers(0.0) for name in template.task.vector_fields()}
        self.parameters = self.layout.views(self.weights_SP)
        self._leaves = [leaf.requires_grad_(True) for leaf in self.parameters.values()]
        self._gradients = list(self.layout.views(self.grad_SP).values())
        first = self.start(template)
        for slot in range(width):
            self.place(slot, template, first)

    def _rows(self) -> Tensor:
        return torch.zeros(self.width, self.layout.row_width, dtype=self.dtype, device=self.device)

    def _numbers(self, value: float) -> Tensor:
        return torch.full((self.width,), value, dtype=self.dtype, device=self.device)

    def start(self, config: RunConfig) -> RunState:
        """The state of a run at step 0: a pure function of its config."""
        seeds = {stream: config.stream_seed(stream) for stream in stream_names(self.layout.specs)}
        weights = self.layout.compact(self.layout.initial_weights(seeds, config.model.init_scale)).numpy()
        zeros = np.zeros_like(weights)
        arrays: dict[str, Array] = {"weights": weights, "initial_weights": weights}
        arrays |= dict.fromkeys(self.optimiser.moments, zeros)
        arrays |= {name: np.array(self.optimiser.start(name), weights.dtype) for name in self.optimiser.scalars}
        arrays |= {name: np.array(np.nan, weights.dtype) for name in self.LAST}
        return RunState(0, arrays)

    def place(self, slot: int, config: RunConfig, state: RunState) -> None:
        """Put a run into a slot, at the state's step."""
        with torch.no_grad():
            for name, target in self._state_tensors().items():
                source = torch.from_numpy(np.array(state.arrays[name]))
                target[slot] = (self.layout.expand(source) if source.dim() else source).to(self.device)
            for name, keys_S2 in self.keys.items():
                keys_S2[slot] = torch.tensor(stream_key(name, config.stream_seed(name)))
            for name, column_S1 in self.columns.items():
                column_S1[slot] = _vector_value(config, name)
            for name, vector_S in self.task_vectors.items():
                vector_S[slot] = float(getattr(config.task, name))
            self.steps_S[slot] = state.step

    def take(self, slot: int) -> RunState:
        """The state of the run in a slot, copied to the host."""
        arrays = {}
        for name, source in self._state_tensors().items():
            value = source[slot].detach()
            arrays[name] = (self.layout.compact(value) if value.dim() else value).cpu().numpy().copy()
        return RunState(int(self.steps_S[slot]), arrays)

    def _state_tensors(self) -> dict[str, Tensor]:
        return {"weights": self.weights_SP, "initial_weights": self.initial_SP, **self.state, **self.last}

    def train(self, num_steps: int) -> None:
        """`num_steps` optimiser steps of every slot."""
        for index in range(num_steps):
            self._step(with_update_norm=index == num_steps - 1)

    def _step(self, with_update_norm: bool) -> None:
        batch = self.sample(self.keys, self.steps_S, self.template.batch_size)
        predictions = self.model.predict(self.parameters, batch.inputs)
        loss_S = self.task.losses(predictions, batch.targets).mean(1)
        # Summed, never averaged: a run's gradient does not know how many others there are.
        gradients = torch.autograd.grad(loss_S.sum(), self._leaves)
        with torch.no_grad():
            for target, gradient in zip(self._gradients, gradients, strict=True):
                target.copy_(gradient)
            norm_S = norm(self.grad_SP)
            clip(self.grad_SP, norm_S, self.columns["clip"])
            before_SP = self.weights_SP.clone() if with_update_norm else None
            fraction_S1 = scheduled_fraction(self.template.schedule.name, self.steps_S, self.columns)
            columns = {**self.columns, "lr": self.columns["lr"] * fraction_S1}
            self.optimiser.update(self.weights_SP, self.grad_SP, self.state, columns)
            self.steps_S += 1
            if before_SP is not None:
                self.last["train_loss"].copy_(loss_S)
                self.last["grad_norm"].copy_(norm_S)
                self.last["update_norm"].copy_(norm(self.weights_SP - before_SP))

    def forward(self, inputs: Tensor, with_attention: bool = False) -> Output:
        return self.model.forward(self.parameters, inputs, with_attention)

    def sample(self, keys: Mapping[str, Tensor], steps_S: Tensor, num_rows: int, first_row: int = 0) -> Batch:
        streams = {name: Draws(keys_S2, steps_S, num_rows, first_row) for name, keys_S2 in keys.items()}
        return self.task.sample(streams, self.task_vectors, self.template.dtype)

    def held_out_keys(self, purpose: str) -> dict[str, Tensor]:
        """Stream keys that depend on the task alone, for `purpose` "label" or "probe": the same for every run."""
        pairs = {name: stream_key(f"{purpose}/{name}", 0) for name in self.task.streams}
        return {name: torch.tensor(pair, device=self.device).expand(self.width, 2) for name, pair in pairs.items()}

    @torch.no_grad()
    def evaluate(self, num_items: int) -> dict[str, Tensor]:
        """label_loss, label_accuracy, label_excess (and label_reference_loss), (S,) each, on items fresh at each step.

        Excess is (loss - reference) / (chance - floor), the reference being the task's explicit best predictor on the
        same items, or its floor.
        """
        keys = self.held_out_keys("label")
        columns = self._over_pieces(lambda rows, first: self.sample(keys, self.steps_S, rows, first), num_items)
        metrics = {f"label_{name}": value_SB.mean(1) for name, value_SB in columns.items()}
        floor, chance = self.task.floor_loss(), self.task.chance_loss()
        reference: Tensor | float = metrics.get("label_reference_loss", floor)
        metrics["label_excess"] = (metrics["label_loss"] - reference) / (chance - floor)
        return metrics

    def _over_pieces(self, sample: Callable[[int, int], Batch], num_items: int) -> dict[str, Tensor]:
        pieces = []
        for first in range(0, num_items, _EVALUATION_PIECE):
            batch = sample(min(_EVALUATION_PIECE, num_items - first), first)
            pieces.append(self._item_metrics(batch))
        return {name: torch.cat([piece[name] for piece in pieces], 1) for name in pieces[0]}

    def _item_metrics(self, batch: Batch) -> dict[str, Tensor]:
        predictions = self.model.predict(self.parameters, batch.inputs)
        found = {
            "loss": self.task.losses(predictions, batch.targets),
            "accuracy": self.task.correct(predictions, batch.targets),
            "reference_loss": self.task.reference_losses(batch),
        }
        return {name: value for name, value in found.items() if value is not None}

    def is_finite(self) -> NDArray[np.bool_]:
        """(S,): whether a slot's weights, moments and last training loss are finite."""
        finite_S = torch.isfinite(self.last["train_loss"])
        for rows_SP in (self.weights_SP, *(self.state[name] for name in self.optimiser.moments)):
            finite_S = finite_S & torch.isfinite(rows_SP).all(1)
        return finite_S.cpu().numpy()


def _optimiser_vectors(config: RunConfig) -> tuple[str, ...]:
    return (*config.optimiser.vector_fields(), *config.schedule.vector_fields())


def _vector_value(config: RunConfig, name: str) -> float:
    owner = config.optimiser if name in config.optimiser.vector_fields() else config.schedule
    value = getattr(owner, name)
    return float("inf") if value is None else float(value)
