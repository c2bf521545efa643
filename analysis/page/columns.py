"""Columns of numbers as bytes that a browser reads into typed arrays: quantised, or exact as float32, and compressed.

A blob is gzip of: the length of a header (4 bytes, little-endian), the header (JSON), zeros up to a multiple of 8, the
arrays one after another, each from a multiple of 8 on.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.arrays import Array, Floats, Ints

_ALIGNMENT = 8
# Beyond this number of values of a sweep, metrics are shown at 8 bits, else at 16.
MANY_VALUES = 400_000
# A scale is linear where the largest value is less than this many times the typical one.
_LINEAR_RANGE = 20.0


@dataclass(frozen=True)
class Quantised:
    """Values as codes of `bits` bits, evenly spaced on a scale between `low` and `high`; the highest code is "none".

    `scale` is linear, log (natural logarithms are spaced) or asinh (those of asinh(value / unit)).
    """

    code: Array
    bits: int
    scale: str
    low: float
    high: float
    unit: float

    @property
    def about(self) -> dict[str, Any]:
        """The header of the codes, from which a reader has the values."""
        return {"bits": self.bits, "scale": self.scale, "low": self.low, "high": self.high, "unit": self.unit}

    @property
    def half_step(self) -> float:
        """The largest error: relative on a log scale, or an asinh one far above `unit`; absolute on a linear one."""
        half = 0.5 * (self.high - self.low) / max(self.num_codes - 1, 1)
        return half if self.scale == "linear" else float(np.expm1(half))

    @property
    def num_codes(self) -> int:
        """How many values there are."""
        return int(2**self.bits - 1)

    def values(self) -> Floats:
        """What a reader has: NaN where there is none."""
        step = (self.high - self.low) / max(self.num_codes - 1, 1)
        spaced = self.low + step * self.code.astype(np.float64)
        inverse = {"linear": spaced, "log": np.exp(spaced), "asinh": self.unit * np.sinh(spaced)}
        return np.where(self.code == self.num_codes, np.nan, inverse[self.scale])


def quantised(values: Floats, bits: int) -> Quantised:
    """The values at `bits` (8 or 16) bits on the scale that suits them; non-finite ones are "none".

    Positive values that span more than a factor of 20 are spaced by their logarithm, others of such a span by asinh.
    """
    is_finite = np.isfinite(values)
    found = values[is_finite]
    scale, unit = _scale_of(found)
    spaced = _spaced(np.where(is_finite, values, found[0] if found.size else 1.0), scale, unit)
    low, high = (float(spaced.min()), float(spaced.max())) if found.size else (0.0, 0.0)
    last = 2**bits - 2
    code = np.round((spaced - low) * (last / (high - low) if high > low else 0.0))
    code = np.where(is_finite, code, last + 1).astype(np.uint8 if bits == 8 else np.uint16)
    return Quantised(code, bits, scale, low, high, unit)


def _scale_of(found: Floats) -> tuple[str, float]:
    size = np.abs(found[found != 0])
    if not size.size or (size.max() < _LINEAR_RANGE * float(np.median(size)) and size.max() < 1e3 * size.min()):
        return "linear", 1.0
    if found.min() > 0:
        return "log", 1.0
    return "asinh", float(np.quantile(size, 0.05))


def _spaced(values: Floats, scale: str, unit: float) -> Floats:
    if scale == "log":
        return np.asarray(np.log(values))
    return np.asarray(np.arcsinh(values / unit)) if scale == "asinh" else np.asarray(values)


def metric_blob(
    name: str, steps_T: Array, values_RT: Floats, bits: int | None, version: int = 0, kept_T: Ints | None = None
) -> bytes:
    """One metric as codes of `bits` bits, or as float32 where `bits` is None.

    At the steps at the places `kept_T`; without it at all at which it was recorded.
    """
    kept_T = np.flatnonzero(~np.all(np.isnan(values_RT), axis=0)) if kept_T is None else kept_T
    values = np.ascontiguousarray(values_RT[:, kept_T])
    header: dict[str, Any] = {"metric": name, "steps": steps_T[kept_T].tolist(), "runs": len(values)}
    header["version"] = version
    if bits is None:
        exact = np.ascontiguousarray(values, np.float32)
        # Bytes of equal weight side by side compress better.
        planes = np.ascontiguousarray(exact.view(np.uint8).reshape(-1, 4).T)
        return _packed(header | {"scale": "exact"}, {"planes": planes})
    coded = quantised(values, bits)
    # Differences along a curve compress better than its values; they wrap around.
    steps = np.diff(coded.code, axis=1, prepend=coded.code.dtype.type(0))
    planes = np.ascontiguousarray(steps.view(np.uint8).reshape(-1, bits // 8).T)
    return _packed(header | coded.about | {"error": coded.half_step}, {"planes": planes})


def columns_blob(columns: Mapping[str, Array], texts: Mapping[str, list[str]]) -> bytes:
    """Numbers by run, each column in its own type, and texts by run."""
    return _packed({"texts": dict(texts)}, columns)


def _packed(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    kinds = {name: {"dtype": array.dtype.name, "length": array.size} for name, array in arrays.items()}
    text = json.dumps({**header, "arrays": kinds}, allow_nan=False, ensure_ascii=True).encode()
    parts = [_padded(struct.pack("<I", len(text)) + text)]
    parts += [_padded(np.ascontiguousarray(array).tobytes()) for array in arrays.values()]
    compressor = zlib.compressobj(6, zlib.DEFLATED, 31)
    return compressor.compress(b"".join(parts)) + compressor.flush()


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % _ALIGNMENT)
