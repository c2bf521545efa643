"""Layout of a run's parameters in one flat row of numbers, each on a 64-byte boundary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pipeline.models.base import ParameterSpec
from pipeline.numerics.alignment import RowPlan, plan_row
from pipeline.numerics.streams import Draws, box_muller, stream_keys

_TRUNCATION = 2.0


@dataclass(frozen=True)
class Layout:
    """Maps named parameters to columns of an (S, P) array; P is `row_width`, padding included and always zero."""

    specs: tuple[ParameterSpec, ...]
    dtype: torch.dtype

    @cached_property
    def _row(self) -> RowPlan:
        return plan_row([spec.rows * spec.columns for spec in self.specs], self.dtype.itemsize)

    @property
    def offsets(self) -> tuple[int, ...]:
        """The column at which each parameter begins, in the order of `specs`."""
        return self._row.offsets

    @cached_property
    def spans(self) -> dict[str, slice]:
        """Parameter name -> its columns in a row."""
        return {
            spec.name: slice(start, start + spec.rows * spec.columns)
            for spec, start in zip(self.specs, self.offsets, strict=False)
        }

    @property
    def row_width(self) -> int:
        """P: numbers in a row, padding included."""
        return self._row.width

    @property
    def num_parameters(self) -> int:
        """Numbers in a row without padding."""
        return sum(spec.rows * spec.columns for spec in self.specs)

    def views(self, flat_SP: Tensor) -> dict[str, Tensor]:
        """Parameter name -> (S, rows, columns), sharing memory with `flat_SP`."""
        return {
            spec.name: flat_SP[:, start : start + spec.rows * spec.columns].view(-1, spec.rows, spec.columns)
            for spec, start in zip(self.specs, self.offsets, strict=False)
        }

    def only_parameters(self, flat_SP: Tensor) -> Tensor:
        """The rows with what is state, not parameter, put to 0; the very rows where there is none."""
        state = [spec.name for spec in self.specs if spec.is_state]
        if not state:
            return flat_SP
        rows_SP = flat_SP.clone()
        for name, view in self.views(rows_SP).items():
            if name in state:
                view.zero_()
        return rows_SP

    def compact(self, flat_P: Tensor) -> Tensor:
        """One row (P,), or (S, P), without padding, parameters in the order of `specs`: what is stored and hashed."""
        return torch.cat([flat_P[..., span] for span in self.spans.values()], -1)

    def split(self, compact_SP: Tensor) -> dict[str, Tensor]:
        """Parameter name -> (S, rows, columns), of rows as `compact` gives them, sharing memory with them."""
        sizes = [spec.rows * spec.columns for spec in self.specs]
        parts = torch.split(compact_SP, sizes, dim=1)
        return {spec.name: part.view(-1, spec.rows, spec.columns) for spec, part in zip(self.specs, parts, strict=True)}

    def expand(self, compact: Tensor) -> Tensor:
        """The inverse of `compact`, on the host: (P,) or (S, P), padding zero."""
        flat_P = compact.new_zeros(*compact.shape[:-1], self.row_width)
        # By numpy, since a parameter may be small, and torch's slices cost more than its numbers.
        target, source, used = flat_P.numpy(), compact.numpy(), 0
        for span in self.spans.values():
            size = span.stop - span.start
            target[..., span] = source[..., used : used + size]
            used += size
        return flat_P

    def initial_weights(self, seed_of: dict[str, int], scale: float) -> Tensor:
        """One run's weights at step 0, (P,): `scale` times a draw. `seed_of` maps init/<name> to a seed."""
        return self.expand(self.initial_rows([seed_of], [scale])[0])

    def initial_rows(self, seeds_of: Sequence[Mapping[str, int]], scales: Sequence[float]) -> Tensor:
        """The same of N runs, each with its own seeds and scale, without padding: (N, numbers), as of `compact`."""
        seeds = [[seed_of[name] for seed_of in seeds_of] for name in stream_names(self.specs)]
        found = _normals(self.specs, seeds)
        scale_N11 = torch.tensor(scales, dtype=self.dtype).view(-1, 1, 1)
        pieces = []
        for spec, seeds_N in zip(self.specs, seeds, strict=True):
            drawn = found[spec.name] if spec.name in found else _initial(spec, seeds_N)
            weights = drawn.to(self.dtype) * spec.std
            pieces.append((weights * scale_N11 if spec.trainable else weights).flatten(1))
        return torch.cat(pieces, 1)


def stream_names(specs: Iterable[ParameterSpec]) -> tuple[str, ...]:
    """The stream that each parameter's initial values are drawn from."""
    return tuple(f"init/{spec.name}" for spec in specs)


# All draws are made on the CPU, so that all devices start from the same bits.


def _draws(spec: ParameterSpec, seeds_N: Sequence[int]) -> Draws:
    return Draws(stream_keys(f"init/{spec.name}", seeds_N), torch.zeros(len(seeds_N), dtype=torch.int64), spec.rows)


def _normals(specs: Sequence[ParameterSpec], seeds: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Standard normal draws of all normally initialised parameters: name -> (N, rows, columns), float64.

    Equal to `Draws.normal`, but transformed in one call for each run, since models have many small parameters. Not in
    one for all runs: the last numbers of an array may be rounded otherwise than those before, so a run's would depend
    on its neighbours.
    """
    wanted = [(spec, seeds_N) for spec, seeds_N in zip(specs, seeds, strict=True) if spec.distribution == "normal"]
    if not wanted:
        return {}
    units = [
        _draws(spec, seeds_N).uniform(spec.columns + spec.columns % 2, 0, torch.float64) for spec, seeds_N in wanted
    ]
    sizes = [unit[0].numel() for unit in units]
    together_NU = torch.cat([unit.flatten(1) for unit in units], 1)
    normal_NU = torch.stack([box_muller(unit_U.clone()) for unit_U in together_NU])
    return {
        spec.name: part.view(unit.shape)[:, :, : spec.columns]
        for (spec, _), part, unit in zip(wanted, torch.split(normal_NU, sizes, 1), units, strict=True)
    }


def _initial(spec: ParameterSpec, seeds_N: Sequence[int]) -> Tensor:
    """Draws (N, rows, columns) from any other distribution, before scaling by `std`."""
    distribution = spec.distribution
    if not isinstance(distribution, str):
        return torch.stack([distribution(seed) for seed in seeds_N])
    if distribution == "orthonormal":
        normal = (_draws(spec, [seed]).normal(spec.columns, 0, torch.float64)[0] for seed in seeds_N)
        return torch.stack([_orthonormal_rows(each) for each in normal])
    return _truncated_normal(_draws(spec, seeds_N).uniform(spec.columns, 0, torch.float64))


def _orthonormal_rows(normal: Tensor) -> Tensor:
    """Orthonormal rows by Gram-Schmidt: uniformly distributed, and fewer rows are the first of more."""
    basis, triangle = torch.linalg.qr(normal.T)
    rows: Tensor = (basis * triangle.diagonal().sign()).T
    return rows


def _truncated_normal(unit: Tensor) -> Tensor:
    """Standard normal within +-2, by inversion of its distribution function."""
    low, high = torch.special.ndtr(torch.tensor([-_TRUNCATION, _TRUNCATION], dtype=torch.float64))
    normal: Tensor = torch.special.ndtri(low + unit * (high - low))
    return normal
