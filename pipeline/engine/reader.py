"""Computes readings from the weights of runs, whatever trained them: on the CPU, in float64, in groups of one size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from pipeline.engine.parameter_layout import Layout
from pipeline.numerics.context import numerics_context
from pipeline.numerics.streams import Draws, held_out_key
from pipeline.readings.base import READINGS, Weights
from pipeline.spec.run_config import RunConfig
from pipeline.tasks.base import Batch

# A group has this many runs, fewer where their numbers would not fit: enough to amortise the calls of torch.
_GROUP_RUNS, _GROUP_NUMBERS = 64, 2**22


def group_size(config: RunConfig, num_items: int) -> int:
    """Runs in a group, from the sizes of parameters and attention maps alone: the same wherever they are read."""
    task_shape = config.task.shape()
    specs = config.model.parameter_specs(task_shape)
    num_parameters = sum(spec.rows * spec.columns for spec in specs)
    return max(1, min(_GROUP_RUNS, _GROUP_NUMBERS // max(num_parameters, num_items * task_shape.length**2)))


def suitable_readings(names: Iterable[str], config: RunConfig) -> tuple[str, ...]:
    """Those of the named readings that can read the model of `config` on its task."""
    return tuple(name for name in names if READINGS[name].unsuitable(config.task, config.model) is None)


class Reader:
    """Readings of runs that have the static hyperparameters of `template`.

    A value is a function of a run's weights and its task's parameters alone: all is computed in double precision by one
    CPU thread, in groups of `group_runs` (None: see `group_size`), the last one filled up, each run's parameters on
    64-byte boundaries. So it depends neither on slots, neighbours and their number, nor on the device, engine and
    threads of training, and what was recorded while training is read from the same weights again to the bit. Double
    precision costs nothing at the sizes of these products, and keeps rounding far below the differences between means
    that readings consist of.
    """

    def __init__(
        self, template: RunConfig, names: Sequence[str], num_items: int, group_runs: int | None = None
    ) -> None:
        self.names, self.num_items = tuple(names), num_items
        self.group_runs = group_size(template, num_items) if group_runs is None else group_runs
        self._readings = [READINGS[name]() for name in names]
        self._task = template.task
        task_shape = template.task.shape()
        self._model = template.model.bind(task_shape)
        self._layout = Layout(self._model.parameter_specs(task_shape), torch.float64)
        self._batches: dict[tuple[float, ...], Batch] = {}
        # The newest group's: most groups have the same.
        self._whole: dict[tuple[tuple[float, ...], ...], Batch] = {}

    def read(self, parameters: Mapping[str, Tensor], configs: Sequence[RunConfig]) -> dict[str, Tensor]:
        """Metric name -> (N,) float64 on the CPU, for N >= 1 runs; `parameters[name]` is (N, rows, columns).

        `configs` are those of the runs, in order. Metrics begin with the name of their reading and a dot; what is not
        defined or not finite is NaN.
        """
        parts = []
        with numerics_context(1, "float32", "cpu"):
            for first in range(0, len(configs), self.group_runs):
                chosen = slice(first, first + self.group_runs)
                group = {name: value.detach()[chosen] for name, value in parameters.items()}
                parts.append(self._read_group(group, configs[chosen]))
        return parts[0] if len(parts) == 1 else {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _read_group(self, parameters: Mapping[str, Tensor], configs: Sequence[RunConfig]) -> dict[str, Tensor]:
        num_runs, num_added = len(configs), self.group_runs - len(configs)
        rows_SP = torch.zeros(self.group_runs, self._layout.row_width, dtype=torch.float64)
        views = self._layout.views(rows_SP)
        for name, view in views.items():
            view[:num_runs].copy_(parameters[name])
            view[num_runs:].copy_(parameters[name][-1:].expand(num_added, -1, -1))
        weights = Weights(self._task, self._model, views, self._batch([*configs, *([configs[-1]] * num_added)]))
        found: dict[str, Tensor] = {}
        for reading in self._readings:
            values = reading(weights)
            assert all(name.startswith(f"{reading.name}.") for name in values), reading.name
            found |= values
        values_MN = torch.stack(list(found.values()))[:, :num_runs].detach().double()
        return dict(zip(found, values_MN.where(values_MN.isfinite(), torch.nan), strict=True))

    def _batch(self, configs: Sequence[RunConfig]) -> Batch:
        """The statistics set of each run, (S, B, ...): the same items, under the run's own parameters of the task."""
        names = self._task.vector_fields()
        vectors = tuple(tuple(getattr(config.task, name) for name in names) for config in configs)
        if vectors not in self._whole:
            self._batches |= {
                values: self._sampled(config)
                for values, config in dict(zip(vectors, configs, strict=True)).items()
                if values not in self._batches
            }
            parts = [self._batches[values] for values in vectors]
            self._whole = {vectors: Batch(*(torch.cat(part) for part in zip(*parts, strict=True)))}
        return self._whole[vectors]

    def _sampled(self, config: RunConfig) -> Batch:
        """The statistics set of one run, (1, B, ...), as the block's probes have it, but in float64."""
        steps_1 = torch.zeros(1, dtype=torch.int64)
        keys = {name: torch.tensor([held_out_key("probe", name)]) for name in self._task.streams}
        streams = {name: Draws(key_12, steps_1, self.num_items) for name, key_12 in keys.items()}
        vectors = {
            name: torch.tensor([float(getattr(config.task, name))], dtype=torch.float64)
            for name in self._task.vector_fields()
        }
        return self._task.sample(streams, vectors, "float64", "probe")
