"""Replay: trains a run again from its nearest snapshot, measures it more densely, and compares with its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor, nn

from pipeline.engine.block import to_host
from pipeline.engine.parameter_layout import Layout
from pipeline.engine.slots import RunState
from pipeline.planning.own_data import refuse_missing_data
from pipeline.planning.packs import Pack, expand, packs_of, stored_spec
from pipeline.spec.run_config import RunConfig
from pipeline.store.pack_store import StoreError
from pipeline.store.records.new_snapshots import arrays_sha256
from pipeline.store.sweep_store import SweepStore
from pipeline.training.open_pack import FirstStates, block_of, num_slots


@dataclass(frozen=True)
class Replayed:
    """`rows` maps step -> metrics. `states` maps step -> state if weights were requested.

    `num_hashes` recorded states and weights and `num_values` recorded numbers were compared; all were equal to the bit.
    """

    run_id: str
    rows: Mapping[int, Mapping[str, float]]
    states: Mapping[int, RunState]
    num_hashes: int
    num_values: int


class ReplayError(StoreError):
    """The replay differs from the record; the message names the step and the quantity."""


class Replay:
    """One run of a results folder, set up under the newest numerics of its pack, at its nearest state before `step`.

    Raises StoreError where this machine cannot have these numerics, or the data of the run, or that state, are not what
    they were.
    """

    def __init__(self, store: SweepStore, run_id: str, step: int) -> None:
        self.store, self.run_id = store, run_id
        spec = stored_spec(store)
        pack = _pack_of(store, run_id)
        self.config = next(config for config in expand(spec) if config.run_id == run_id)
        refuse_missing_data(spec.name, [self.config])
        self.block = block_of(pack, self.config, num_slots(store, pack))
        first = 0 if self.config.lineage is None else self.config.lineage.step
        self.grid, self.budget = spec.grid, spec.budget_of(self.config)
        if not first <= step <= self.budget:
            raise StoreError(f"run {run_id} has steps {first} to {self.budget}; there is no step {step}")
        snapshots = store.snapshots()
        self.recorded, self.recorded_weights = snapshots.of(run_id), snapshots.of(run_id, "weights")
        before = [known for known in self.recorded if known <= step]
        if before:
            start = RunState(max(before), snapshots.read(run_id, max(before)))
            if arrays_sha256(start.arrays) != self.recorded[start.step].sha256:
                raise StoreError(f"{store.folder}: the state of run {run_id} at step {start.step} is not as recorded")
        else:
            start = FirstStates(store, spec, {})({run_id: self.config}, self.block)[run_id]
        self.block.load_run(0, self.config, start)
        self.num_hashes = 0

    @property
    def step(self) -> int:
        """The run's present step."""
        return int(self.block.steps_S[0])

    def advance_to(self, step: int) -> None:
        """Train up to `step`, stopping to compare wherever a state or weights were kept. Raises ReplayError."""
        assert step >= self.step
        kept = {*self.recorded, *self.recorded_weights}
        for mark in sorted({*(known for known in kept if self.step < known <= step), step}):
            if mark > self.step:
                self.block.train(mark - self.step, [0])
                self._compare()

    def _compare(self) -> None:
        entry, weights_entry = self.recorded.get(self.step), self.recorded_weights.get(self.step)
        if entry is not None:
            if arrays_sha256(self.state().arrays) != entry.sha256:
                raise ReplayError(f"run {self.run_id}: its state at step {self.step} is not the one that was recorded")
            self.num_hashes += 1
        if weights_entry is not None:
            if arrays_sha256({"weights": self.block.weights_of(0)}) != weights_entry.sha256:
                raise ReplayError(
                    f"run {self.run_id}: its weights at step {self.step} are not those that were recorded"
                )
            self.num_hashes += 1

    def state(self) -> RunState:
        """The run's present state, copied to the host."""
        return self.block.run_state(0)

    def measure(self) -> dict[str, float]:
        """Every metric at the present step."""
        probed = self.block.probe(self.grid.probe_items, [0])
        evaluated = self.block.evaluate(self.grid.eval_items, [0])
        return {name: float(value_1[0]) for metrics in to_host(probed, evaluated) for name, value_1 in metrics.items()}


def replay(
    store: SweepStore, run_id: str, first: int, last: int, every: int, probes: tuple[str, ...], with_weights: bool
) -> Replayed:
    """Measure steps first, first + every, ... up to `last`. `probes` keeps metrics that begin with one of its names.

    Raises ReplayError if a recorded state or number met on the way differs by a bit; ValueError for an empty range or
    names that nothing has.
    """
    if first < 0 or last < first or every < 1:
        raise ValueError(f"steps must satisfy 0 <= from <= to and every >= 1, given {first}, {last}, {every}")
    again = Replay(store, run_id, first)
    if last > again.budget:
        raise ValueError(f"run {run_id} has a budget of {again.budget} steps; there is no step {last}")
    recorded = _recorded_rows(store, run_id)
    rows: dict[int, dict[str, float]] = {}
    states: dict[int, RunState] = {}
    num_values = 0
    for step in range(first, last + 1, every):
        again.advance_to(step)
        metrics = again.measure()
        num_values += _check(run_id, step, metrics, recorded.get(step, {}))
        rows[step] = {name: value for name, value in metrics.items() if not probes or name.startswith(probes)}
        if not rows[step]:
            raise ValueError(f"no probe is called {', '.join(probes)} (there are: {', '.join(metrics)})")
        if with_weights:
            states[step] = again.state()
    return Replayed(run_id, rows, states, again.num_hashes, num_values)


def model(store: SweepStore, run_id: str, step: int) -> nn.Module:
    """The run's model at `step` as an ordinary torch module: tokens or vectors (B, L, ...) in, predictions (B, O) out.

    Where a task asks at the last Q > 1 positions, they are (B, Q, O). A model that is a module of the user's own is
    given as that module, under its own names, in evaluation mode.
    Taken from a snapshot at that step, or trained again from the nearest earlier one.
    """
    snapshots = store.snapshots()
    if step in snapshots.weight_steps(run_id):
        config = next(config for config in expand(stored_spec(store)) if config.run_id == run_id)
        return _module(config, RunState(step, {"weights": snapshots.weights(run_id, step)}))
    again = Replay(store, run_id, step)
    again.advance_to(step)
    return _module(again.config, again.state())


def _module(config: RunConfig, state: RunState) -> nn.Module:
    """The run's module in a state: the user's own if its model is one, else a `TrainedModel`."""
    task_shape = config.task.shape()
    layout = Layout(config.model.parameter_specs(task_shape), getattr(torch, config.dtype))
    views = layout.views(layout.expand(torch.from_numpy(np.array(state.arrays["weights"]))).unsqueeze(0))
    own = config.model.bind(task_shape).own_module({name: value[0] for name, value in views.items()})
    return TrainedModel(config, state) if own is None else own


class TrainedModel(nn.Module):
    """One run's weights at one step, as parameters named as in the model's specs, "." written "__".

    Parameters that the run did not train have requires_grad=False.
    """

    def __init__(self, config: RunConfig, state: RunState) -> None:
        super().__init__()
        task_shape = config.task.shape()
        self.model = config.model.bind(task_shape)
        self.num_query_positions = task_shape.num_query_positions
        layout = Layout(config.model.parameter_specs(task_shape), getattr(torch, config.dtype))
        flat_1P = layout.expand(torch.from_numpy(np.array(state.arrays["weights"]))).unsqueeze(0)
        self.names = [spec.name for spec in layout.specs]
        values = layout.views(flat_1P)
        for spec in layout.specs:
            parameter = nn.Parameter(values[spec.name][0].clone(), requires_grad=spec.trainable)
            self.register_parameter(spec.name.replace(".", "__"), parameter)

    def forward(self, inputs: Tensor) -> Tensor:
        """Predictions (B, O), or (B, Q, O) where the task asks at Q > 1 positions."""
        parameters = {name: self.get_parameter(name.replace(".", "__")).unsqueeze(0) for name in self.names}
        predictions = self.model.forward(
            parameters, inputs.unsqueeze(0), num_query_positions=self.num_query_positions
        ).predictions[0]
        num_asked = self.num_query_positions
        return predictions if num_asked == 1 else predictions.view(len(inputs), num_asked, -1)

    def attention(self, inputs: Tensor) -> list[Tensor]:
        """Per layer (B, H, L, L)."""
        parameters = {name: self.get_parameter(name.replace(".", "__")).unsqueeze(0) for name in self.names}
        output = self.model.forward(parameters, inputs.unsqueeze(0), with_attention=True)
        return [attention[0] for attention in output.attention]


def _pack_of(store: SweepStore, run_id: str) -> Pack:
    return next(pack for pack in packs_of(store.plan) if run_id in pack.run_ids)


def _recorded_rows(store: SweepStore, run_id: str) -> dict[int, dict[str, float]]:
    """step -> metric -> value. Of the run's own pack alone, since others may be damaged."""
    pack = store.pack(_pack_of(store, run_id).pack_id)
    record = pack.newest()
    found: dict[int, dict[str, float]] = {}
    for entry in () if record is None else record.history:
        table = pack.table(entry)
        own = table.filter(pc.equal(table["run_id"].cast(pa.string()), run_id))
        for row in own.drop_columns(["run_id"]).to_pylist():
            values = {name: value for name, value in row.items() if value is not None}
            found.setdefault(values.pop("step"), {}).update(values)
    return found


def _check(run_id: str, step: int, metrics: Mapping[str, float], recorded: Mapping[str, float]) -> int:
    compared = {name: value for name, value in recorded.items() if name in metrics and not np.isnan(value)}
    for name, value in compared.items():
        if metrics[name] != value:
            raise ReplayError(f"run {run_id}: {name} at step {step} is {metrics[name]!r}, recorded was {value!r}")
    return len(compared)
