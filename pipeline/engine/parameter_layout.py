"""Layout of a run's parameters in one flat row of numbers, each on a 64-byte boundary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pipeline.models.base import ParameterSpec
from pipeline.numerics.alignment import RowPlan, plan_row
from pipeline.numerics.streams import Draws, box_muller, stream_key

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
        seeds = [seed_of[f"init/{spec.name}"] for spec in self.specs]
        found = _normals(self.specs, seeds)
        pieces = [
            (found[spec.name] if spec.name in found else _initial(spec, seed)).to(self.dtype)
            * spec.std
            * (scale if spec.trainable else 1.0)
            for spec, seed in zip(self.specs, seeds, strict=True)
        ]
        return self.expand(torch.cat([piece.flatten() for piece in pieces]))


def stream_names(specs: Iterable[ParameterSpec]) -> tuple[str, ...]:
    """The stream that each parameter's initial values are drawn from."""
    return tuple(f"init/{spec.name}" for spec in specs)


# All draws are made on the CPU, so that all devices start from the same bits.


def _draws(spec: ParameterSpec, seed: int) -> Draws:
    keys = torch.tensor([stream_key(f"init/{spec.name}", seed)])
    return Draws(keys, torch.zeros(1, dtype=torch.int64), spec.rows)


def _normals(specs: Sequence[ParameterSpec], seeds: Sequence[int]) -> dict[str, Tensor]:
    """Standard normal draws of all normally initialised parameters: name -> (rows, columns), float64.

    Equal to `Draws.normal`, but transformed in one call, since models have many small parameters.
    """
    wanted = [(spec, seed) for spec, seed in zip(specs, seeds, strict=True) if spec.distribution == "normal"]
    if not wanted:
        return {}
    units = [_draws(spec, seed).uniform(spec.columns + spec.columns % 2, 0, torch.float64)[0] for spec, seed in wanted]
    parts = torch.split(box_muller(torch.cat([unit.flatten() for unit in units])), [unit.numel() for unit in units])
    return {
        spec.name: part.view(unit.shape)[:, : spec.columns]
        for (spec, _), part, unit in zip(wanted, parts, units, strict=True)
    }


def _initial(spec: ParameterSpec, seed: int) -> Tensor:
    """Draws (rows, columns) from any other distribution, before scaling by `std`."""
    if not isinstance(spec.distribution, str):
        return spec.distribution(seed)
    if spec.distribution == "orthonormal":
        return _orthonormal_rows(_draws(spec, seed).normal(spec.columns, 0, torch.float64)[0])
    return _truncated_normal(_draws(spec, seed).uniform(spec.columns, 0, torch.float64)[0])


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
