"""The arrays of runs that share a block; loading and unloading runs; sampling their data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.arrays import Array, Ints
from pipeline.engine.parameter_layout import Layout, stream_names
from pipeline.numerics.context import fix_cublas_workspace, numerics_context
from pipeline.numerics.streams import Draws, held_out_key, stream_keys
from pipeline.spec.parameters import Registered
from pipeline.spec.run_config import RunConfig
from pipeline.tasks.base import Batch, Split

# A copy of what some slots hold: its arrays, a row for each slot.
SlotArrays = list[Tensor]


@dataclass(frozen=True)
class RunState:
    """Everything that training one run from `step` on depends on, besides its config: host arrays by name.

    `weights`, `initial_weights` and the optimiser's moments are flat, without padding, in the order of the model's
    parameter specs; its scalars have shape (), and so have the last step's `train_loss`, `grad_norm`, `update_norm`.
    """

    step: int
    arrays: Mapping[str, Array]


@dataclass(frozen=True)
class StackedStates:
    """The states of N runs: their steps, and name -> (N, ...)."""

    steps: Sequence[int]
    arrays: Mapping[str, Array]

    def each(self) -> list[RunState]:
        """Run by run, each with copies of its own."""
        return [
            RunState(step, {name: np.array(values[row]) for name, values in self.arrays.items()})
            for row, step in enumerate(self.steps)
        ]


class Slots:
    """Slots 0 to num_slots - 1, each holding a run at its own step, with its own streams and vector hyperparameters.

    All arrays are (S, ...), slot axis first. At first every slot holds `template`. `threads` and `matmul_precision`
    are those of the numerics; all arithmetic runs under `numerics()`.
    """

    LAST = ("train_loss", "grad_norm", "update_norm")

    def __init__(
        self,
        template: RunConfig,
        num_slots: int,
        device: torch.device,
        threads: int = 1,
        matmul_precision: str = "float32",
    ) -> None:
        self.template, self.num_slots, self.device = template, num_slots, device
        self.threads, self.matmul_precision = threads, matmul_precision
        if device.type == "cuda":
            fix_cublas_workspace()
        self.task, self.model = template.task, template.model.bind(template.task.shape())
        self.dtype: torch.dtype = getattr(torch, template.dtype)
        self.layout = Layout(self.model.parameter_specs(self.task.shape()), self.dtype)
        self.optimiser = template.optimiser.in_rows(self.layout.spans)
        self.schedule = template.schedule
        self.steps_S = torch.zeros(num_slots, dtype=torch.int64, device=device)
        self.weights_SP = self._rows()
        self.initial_SP = self._rows()
        self.grad_SP = self._rows()
        self.state = {name: self._rows() for name in self.optimiser.moments}
        self.state |= {name: self._numbers(start) for name, start in self.optimiser.scalars.items()}
        self.last = {name: self._numbers(float("nan")) for name in self.LAST}
        streams = (*self.task.streams, *self.model.noise_streams(self.task.shape()))
        self.keys = {name: self.steps_S.new_zeros(num_slots, 2) for name in streams}
        self._held_out: dict[Split, dict[str, Tensor]] = {}
        self.columns = self._columns(template.optimiser)
        self.schedule_columns = self._columns(template.schedule)
        self.task_vectors = {name: self._numbers(0.0) for name in template.task.vector_fields()}
        self.parameters = self.layout.views(self.weights_SP)
        # Copies of the arrays that training leaves as they are, by their place, until a slot is filled anew.
        self._untrained: dict[int, Tensor] = {}
        self.load_runs(dict.fromkeys(range(num_slots), (template, self.start(template))))

    def numerics(self) -> AbstractContextManager[None]:
        """Context manager with this block's threads and matmul precision; restores the process's settings on exit."""
        return numerics_context(self.threads, self.matmul_precision, self.device.type)

    def _rows(self) -> Tensor:
        return torch.zeros(self.num_slots, self.layout.row_width, dtype=self.dtype, device=self.device)

    def _numbers(self, value: float) -> Tensor:
        return torch.full((self.num_slots,), value, dtype=self.dtype, device=self.device)

    def _columns(self, parameters: Registered) -> dict[str, Tensor]:
        return {name: self._numbers(0.0).unsqueeze(1) for name in parameters.vector_fields()}

    def start(self, config: RunConfig) -> RunState:
        """The state of a run at step 0: a pure function of its config."""
        return self.starts([config])[0]

    def starts(self, configs: Sequence[RunConfig]) -> list[RunState]:
        """The same of many runs, drawn together; a state's arrays are parts of those of all."""
        if not configs:
            return []
        seeds = [{name: run.stream_seed(name) for name in stream_names(self.layout.specs)} for run in configs]
        with self.numerics():
            weights_NP = self.layout.initial_rows(seeds, [run.model.init_scale for run in configs]).numpy()
        common: dict[str, Array] = dict.fromkeys(self.optimiser.moments, np.zeros_like(weights_NP[0]))
        common |= {name: np.array(start, weights_NP.dtype) for name, start in self.optimiser.scalars.items()}
        common |= {name: np.array(np.nan, weights_NP.dtype) for name in self.LAST}
        return [RunState(0, {"weights": row_P, "initial_weights": row_P, **common}) for row_P in weights_NP]

    def load_run(self, slot: int, config: RunConfig, state: RunState) -> None:
        """Put a run into a slot, at the state's step."""
        self.load_runs({slot: (config, state)})

    @torch.no_grad()
    def load_runs(self, runs: Mapping[int, tuple[RunConfig, RunState]]) -> None:
        """Put runs into slots, each at its state's step: one transfer to the device an array, however many runs.

        One object given for several slots is transferred once.
        """
        self._untrained = {}
        distinct = {id(run): run for run in runs.values()}
        slots = torch.tensor(list(runs), device=self.device)
        for target, source in zip(self._all_tensors(), self._host_rows(list(distinct.values())), strict=True):
            rows = source.to(target)
            if len(distinct) < len(runs):
                places = {key: place for place, key in enumerate(distinct)}
                rows = rows[[places[id(run)] for run in runs.values()]]
            target.index_copy_(0, slots, rows)

    def _host_rows(self, runs: Sequence[tuple[RunConfig, RunState]]) -> Iterator[Tensor]:
        """What these runs put into a slot, a row for each, on the host, array by array as in `_all_tensors`."""
        # Fresh runs have many arrays in common, and their first weights twice.
        rows_of: dict[tuple[int, ...], Tensor] = {}
        for name in self._state_tensors():
            arrays = [state.arrays[name] for _, state in runs]
            ids = tuple(map(id, arrays))
            if ids not in rows_of:
                rows_of[ids] = self._state_rows(arrays)
            yield rows_of[ids]
        for name in self.keys:
            yield stream_keys(name, [config.stream_seed(name) for config, _ in runs])
        for name in self.columns:
            yield _column([_number(getattr(config.optimiser, name)) for config, _ in runs]).unsqueeze(1)
        for name in self.schedule_columns:
            yield _column([_number(getattr(config.schedule, name)) for config, _ in runs]).unsqueeze(1)
        for name in self.task_vectors:
            yield _column([float(getattr(config.task, name)) for config, _ in runs])
        yield torch.tensor([state.step for _, state in runs])

    def _state_rows(self, arrays: Sequence[Array]) -> Tensor:
        is_one = all(array is arrays[0] for array in arrays)
        rows = torch.from_numpy(np.stack(arrays[:1] if is_one else arrays))
        return (self.layout.expand(rows) if rows.dim() > 1 else rows).expand(len(arrays), *[-1] * (rows.dim() - 1))

    def unload_run(self, slot: int) -> None:
        """Called once a run has ended in a slot, which keeps what it holds; nothing is to be done."""

    def run_state(self, slot: int) -> RunState:
        """The state of the run in a slot, copied to the host; the slot itself keeps it."""
        return self.run_states([slot])[0]

    def run_states(self, slots: Sequence[int]) -> list[RunState]:
        """The states of the runs in these slots: one transfer from the device an array, however many slots."""
        return self.stacked_states(slots).each() if slots else []

    def stacked_states(self, slots: Sequence[int]) -> StackedStates:
        """The same as arrays over runs."""
        return self._states_in(self._state_tensors(), self.steps_S, slots)

    @torch.no_grad()
    def _states_in(self, tensors: Mapping[str, Tensor], steps: Tensor, rows: Sequence[int]) -> StackedStates:
        chosen = torch.tensor(list(rows), dtype=torch.int64, device=self.device)
        host = {name: self._compact(source.index_select(0, chosen)).cpu().numpy() for name, source in tensors.items()}
        return StackedStates(steps.index_select(0, chosen).tolist(), host)

    def _compact(self, values: Tensor) -> Tensor:
        return self.layout.compact(values) if values.dim() > 1 else values

    def copy(self, slots: Sequence[int] | None = None) -> SlotArrays:
        """Copies of everything that these slots (None: all) hold, a row for each, on the block's device; to be read.

        Those of all slots share what training does not change, as long as no slot is filled.
        """
        if slots is None:
            arrays = self._all_tensors()
            if not self._untrained:
                trained = {id(array) for array in self._trained_tensors()}
                self._untrained = {
                    place: array.detach().clone() for place, array in enumerate(arrays) if id(array) not in trained
                }
            return [
                self._untrained[place] if place in self._untrained else array.detach().clone()
                for place, array in enumerate(arrays)
            ]
        chosen = torch.tensor(list(slots), device=self.device)
        return [source.detach().index_select(0, chosen) for source in self._all_tensors()]

    def put(self, arrays: SlotArrays, rows: Mapping[int, int]) -> None:
        """Slot -> the row of `arrays`, a `copy`, that it holds from now on; other slots stay as they are."""
        parts = (rows.keys(), rows.values())
        slots, chosen = (torch.tensor(list(part), dtype=torch.int64, device=self.device) for part in parts)
        self._untrained = {}
        with torch.no_grad():
            for target, source in zip(self._all_tensors(), arrays, strict=True):
                target[slots] = source[chosen]

    def state_in(self, arrays: SlotArrays, row: int) -> RunState:
        """The state of the run in a row of a `copy`."""
        return self._states_in(dict(zip(self._state_tensors(), arrays, strict=False)), arrays[-1], [row]).each()[0]

    def weights_of(self, slot: int) -> Array:
        """The flat weights, without padding, of the run in a slot, as `RunState` has them."""
        return self.weights_of_runs([slot])[0]

    @torch.no_grad()
    def weights_of_runs(self, slots: Sequence[int]) -> list[Array]:
        """The same of each of these slots, in one transfer."""
        chosen = torch.tensor(list(slots), dtype=torch.int64, device=self.device)
        return [np.array(row) for row in self.layout.compact(self.weights_SP.index_select(0, chosen)).cpu().numpy()]

    def _state_tensors(self) -> dict[str, Tensor]:
        return {"weights": self.weights_SP, "initial_weights": self.initial_SP, **self.state, **self.last}

    def _trained_tensors(self) -> list[Tensor]:
        """What training changes."""
        return [self.weights_SP, *self.state.values(), *self.last.values(), self.steps_S]

    def _all_tensors(self) -> list[Tensor]:
        """Everything that training a slot depends on; the state first, the steps last."""
        parts = (self._state_tensors(), self.keys, self.columns, self.schedule_columns, self.task_vectors)
        return [*(tensor for part in parts for tensor in part.values()), self.steps_S]

    def stream_keys(self, split: Split) -> dict[str, Tensor]:
        """Stream -> keys (S, 2): the runs' own in training; of other splits the same for every run."""
        if split == "train":
            return self.keys
        if split not in self._held_out:
            pairs = {name: held_out_key(split, name) for name in self.task.streams}
            self._held_out[split] = {
                name: torch.tensor([pair] * self.num_slots, device=self.device) for name, pair in pairs.items()
            }
        return self._held_out[split]

    def same_examples(self, split: Split, steps_S: Tensor, slots: Sequence[int]) -> tuple[Tensor, Tensor]:
        """One slot of each set of those that see the same examples at their own of `steps_S`; (n,) the set of each.

        Examples are functions of the task's streams, its vector hyperparameters and the step.
        """
        keys, chosen = self.stream_keys(split), list(slots)
        # Compared as bits, since a number may be NaN.
        vectors = [values.double().view(torch.int64).unsqueeze(1) for values in self.task_vectors.values()]
        rows = torch.cat([*(keys[name] for name in self.task.streams), steps_S.unsqueeze(1), *vectors], 1)
        _, first, place_of = np.unique(rows[chosen].cpu().numpy(), axis=0, return_index=True, return_inverse=True)
        return torch.tensor(chosen)[first], torch.from_numpy(place_of.reshape(-1))

    def sample(
        self, split: Split, steps_S: Tensor, num_rows: int, first_row: int = 0, slots: Sequence[int] | None = None
    ) -> Batch:
        """Examples of a split for `slots` (None: all), whose steps are given."""
        keys, vectors = self.stream_keys(split), self.task_vectors
        if slots is not None:
            chosen = torch.tensor(list(slots), dtype=torch.int64, device=self.device)
            keys, vectors = (
                {name: rows.index_select(0, chosen) for name, rows in part.items()} for part in (keys, vectors)
            )
        per_step = self.template.batch_size
        streams = {name: Draws(keys_S2, steps_S, num_rows, first_row, per_step) for name, keys_S2 in keys.items()}
        return self.task.sample(streams, vectors, self.template.dtype, split)

    def steps(self) -> Ints:
        """(S,): the slots' steps."""
        return np.array(self.steps_S.cpu().numpy())

    def is_finite(self) -> NDArray[np.bool_]:
        """(S,): whether a slot's weights, moments and last training loss are finite."""
        return self.standing()[1]

    @torch.no_grad()
    def standing(self) -> tuple[Ints, NDArray[np.bool_]]:
        """(S,) the slots' steps, and whether weights, moments and last training loss are finite, in one transfer."""
        steps_S, finite_S = torch.stack([self.steps_S, self._finite_rows().long()]).cpu().numpy()
        return steps_S, finite_S == 1

    def _finite_rows(self) -> Tensor:
        rows = [self.last["train_loss"].unsqueeze(1), self.weights_SP]
        rows += [self.state[name] for name in self.optimiser.moments]
        # x - x is 0 for finite numbers, NaN for all others.
        return torch.stack([(row - row).sum(1) == 0 for row in rows]).all(0)


def _column(numbers: Sequence[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def _number(value: float | None) -> float:
    """A vector hyperparameter as a number; None (no limit) becomes infinity."""
    return float("inf") if value is None else float(value)
