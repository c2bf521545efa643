"""Factors: the lists, ranges and random draws by which a spec varies its base setting."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import ConfigDict, Field, PlainSerializer, PlainValidator, TypeAdapter, model_validator

from pipeline.spec.parameters import Parameters
from pipeline.spec.registered import located, unknown
from pipeline.spec.run_config import Seed

MAX_VALUES = 100_000
# Of a range, which may be of seeds.
MAX_SEEDS = 1_000_000
_DIGITS = 12

Pair = Annotated[tuple[float, float], Field(strict=False)]


class Range(Parameters):
    """Whole numbers from the first of `range` up to, not including, the second, as Python counts."""

    range: Annotated[tuple[int, int], Field(strict=False)]
    step: int = Field(1, gt=0)

    @model_validator(mode="after")
    def _holds_some(self) -> Range:
        start, stop = self.range
        # Not len(range(...)), which overflows for the longest.
        check_length(max(0, -(-(stop - start) // self.step)), "range", MAX_SEEDS)
        return self

    def values(self) -> Sequence[int]:
        """The whole numbers, in order."""
        return range(*self.range, self.step)


class LogRange(Parameters):
    """`num` values from one end to the other, both included, at equal ratios, to 12 significant digits."""

    log_range: Pair
    num: int = Field(ge=2, le=MAX_VALUES)

    @model_validator(mode="after")
    def _ends_differ(self) -> LogRange:
        low, high = self.log_range
        if low <= 0 or high <= 0 or low == high:
            raise located([(("log_range",), "ends must be positive and differ", self.log_range)])
        return self

    def values(self) -> Sequence[float]:
        """The `num` values, in order."""
        low, high = self.log_range
        inner = [_geometric(low, high, k / (self.num - 1)) for k in range(1, self.num - 1)]
        return (low, *inner, high)


class Listed(Parameters):
    """The values themselves."""

    listed: Annotated[tuple[Any, ...], Field(strict=False)]

    def values(self) -> Sequence[Any]:
        """The values, in declared order."""
        return self.listed


Axis = Range | LogRange | Listed


class Uniform(Parameters):
    """A decimal between two ends."""

    uniform: Pair

    @model_validator(mode="after")
    def _ends_increase(self) -> Uniform:
        if not self.uniform[0] < self.uniform[1]:
            raise located([(("uniform",), "the second end must be above the first", self.uniform)])
        return self

    def draw(self, unit: float) -> float:
        """The value at quantile `unit` in [0, 1)."""
        low, high = self.uniform
        return min(max(_rounded(low * (1 - unit) + high * unit), low), high)


class LogUniform(Parameters):
    """A decimal between two positive ends, its logarithm uniform."""

    log_uniform: Pair

    @model_validator(mode="after")
    def _ends_increase(self) -> LogUniform:
        if not 0 < self.log_uniform[0] < self.log_uniform[1]:
            raise located([(("log_uniform",), "ends must be positive, the second above the first", self.log_uniform)])
        return self

    def draw(self, unit: float) -> float:
        """The value at quantile `unit` in [0, 1)."""
        low, high = self.log_uniform
        return min(max(_geometric(low, high, unit), low), high)


class Choice(Parameters):
    """One of the values, each as likely."""

    choice: Annotated[tuple[Any, ...], Field(strict=False, min_length=1)]

    def draw(self, unit: float) -> Any:
        """The value at quantile `unit` in [0, 1)."""
        return self.choice[int(unit * len(self.choice))]


Distribution = Uniform | LogUniform | Choice


def read_axis(value: Any) -> Axis:
    """A list, {range: [a, b], step: c} or {log_range: [a, b], num: n}. Raises ValueError for anything else."""
    if isinstance(value, Listed):
        return value
    if isinstance(value, (list, tuple)):
        check_length(len(value), "list")
        return Listed(listed=tuple(value))
    axis: Axis = by_key(value, (Range, LogRange), "a list, {range: [0, 10]} or {log_range: [1e-3, 1e-2], num: 3}")
    return axis


def read_distribution(value: Any) -> Distribution:
    """{uniform: [a, b]}, {log_uniform: [a, b]} or {choice: [...]}. Raises ValueError for anything else."""
    forms = "{uniform: [0, 1]}, {log_uniform: [1e-4, 1e-2]} or {choice: [1, 2]}"
    distribution: Distribution = by_key(value, (Uniform, LogUniform, Choice), forms)
    return distribution


def dump_axis(axis: Axis) -> Any:
    """An axis as written in a sweep file: the inverse of `read_axis`."""
    return list(axis.listed) if isinstance(axis, Listed) else axis.model_dump()


AxisField = Annotated[Axis, PlainValidator(read_axis), PlainSerializer(dump_axis)]
DistributionField = Annotated[Distribution, PlainValidator(read_distribution)]


@dataclass(frozen=True)
class Zipped:
    """Zipped axes of equal length; usually one axis."""

    axes: Mapping[str, Axis]

    def paths(self) -> tuple[str, ...]:
        """Dotted paths that the factor sets."""
        return tuple(self.axes)

    def __len__(self) -> int:
        return len(next(iter(self.axes.values())).values())

    def rows(self) -> Iterator[dict[str, Any]]:
        """Dotted path -> value, once for each setting of the factor."""
        columns = [axis.values() for axis in self.axes.values()]
        return (dict(zip(self.axes, row, strict=True)) for row in zip(*columns, strict=True))


class Random(Parameters):
    """`num` settings drawn under `seed`; draw i of a path depends on seed, path and i alone.

    So raising `num` appends, and another path leaves the draws of this one as they were. Values are rounded to 12
    significant digits, which hides the last bits in which mathematical libraries differ.
    """

    random: dict[str, DistributionField] = Field(min_length=1)
    num: int = Field(gt=0, le=MAX_VALUES)
    seed: Seed = 0

    def paths(self) -> tuple[str, ...]:
        """Dotted paths that the factor sets."""
        return tuple(self.random)

    def __len__(self) -> int:
        return self.num

    def rows(self) -> Iterator[dict[str, Any]]:
        """Dotted path -> value, once for each drawn setting."""
        for index in range(self.num):
            yield {path: distribution.draw(_unit(self.seed, path, index)) for path, distribution in self.random.items()}


Factor = Zipped | Random

_AXES = TypeAdapter(dict[str, AxisField], config=ConfigDict(strict=True))


def read_factor(value: Any) -> Factor:
    """One entry of `vary`. Raises ValueError."""
    if isinstance(value, (Zipped, Random)):
        return value
    if isinstance(value, Mapping) and "random" in value:
        return Random.model_validate(value)
    if not isinstance(value, Mapping) or not value:
        raise ValueError("should be a mapping such as {optimiser.lr: [1e-3, 1e-2]}")
    factor = Zipped(_AXES.validate_python(value))
    lengths = {path: len(axis.values()) for path, axis in factor.axes.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"keys of one entry are zipped and need equal lengths, given {lengths}; cross them by "
            "giving each its own entry"
        )
    return factor


def dump_factor(factor: Factor) -> dict[str, Any]:
    """A factor as written in a sweep file: the inverse of `read_factor`."""
    if isinstance(factor, Random):
        # Distributions are read by custom functions, for which pydantic's serialiser would warn.
        return factor.model_dump(warnings=False)
    return {path: dump_axis(axis) for path, axis in factor.axes.items()}


FactorField = Annotated[Factor, PlainValidator(read_factor), PlainSerializer(dump_factor)]


def by_key(value: Any, classes: tuple[Any, ...], forms: str) -> Any:
    """Validated by the class whose first field is a key of `value`."""
    for cls in classes:
        if isinstance(value, cls):
            return value
        if isinstance(value, Mapping) and next(iter(cls.model_fields)) in value:
            return cls.model_validate(value)
    if isinstance(value, Mapping) and value:
        names = [next(iter(cls.model_fields)) for cls in classes]
        raise ValueError(f"{unknown('form', next(iter(value)), names)}; should be {forms}")
    raise ValueError(f"should be {forms}")


def check_length(length: int, what: str, most: int = MAX_VALUES) -> None:
    """Raises ValueError unless a `what` of this length holds from 1 to `most` values."""
    if not 0 < length <= most:
        raise ValueError(f"a {what} must hold from 1 to {most} values, given {length}")


def _rounded(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")


def _geometric(low: float, high: float, fraction: float) -> float:
    # Not low * (high / low) ** fraction, whose ratio can overflow.
    return _rounded(low ** (1 - fraction) * high**fraction)


def _unit(seed: int, path: str, index: int) -> float:
    """Uniform on [0, 1) with 53 bits, the same on every machine."""
    word = hashlib.sha256(f"seedbed.random.1:{seed}:{path}:{index}".encode()).digest()
    return float((int.from_bytes(word[:8], "little") >> 11) * 2.0**-53)
