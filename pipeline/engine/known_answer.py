"""A few steps of a run, computed before a pack starts: checked against the torch engine, and hashed.

The hash identifies the arithmetic: machines that compute these steps to the same bits are taken to compute all to the
same bits, whatever they are called.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.arrays import Array, Bools
from pipeline.engine.block import Block, to_host
from pipeline.spec.run_config import RunConfig

_NUM_STEPS = 2
# Held-out items that are evaluated.
_NUM_ITEMS = 16
# Largest relative difference of numbers from the torch engine's, many times the rounding errors that were seen (2e-6
# and 5e-15); of the distance that weights move it is a hundred times as much, since Adam moves a weight whose gradient
# is 0 but for rounding.
_TOLERANCE = {"float32": 1e-4, "float64": 1e-10}
_MOVED_FACTOR = 100.0
# A step that moves the weights by more than this share of their norm may multiply rounding errors.
_LARGE_STEP = 0.1


class WrongProgramError(Exception):
    """A compiled program does not compute what the torch engine computes."""


@dataclass(frozen=True)
class KnownAnswer:
    """What a run is after each of the steps: `numbers[step]` by name, and its flat weights, `weights[step]`.

    `gradients[step]` are those of the step, clipped, where torch computes them: a program keeps none.
    """

    numbers: tuple[Mapping[str, float], ...]
    weights: tuple[Array, ...]
    gradients: tuple[Array, ...]

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that change with any bit."""
        found = hashlib.sha256()
        for numbers, weights in zip(self.numbers, self.weights, strict=True):
            found.update(np.array(list(numbers.values()), np.float64).tobytes())
            found.update(np.ascontiguousarray(weights).tobytes())
        return found.hexdigest()[:16]

    @staticmethod
    def of(config: RunConfig, block: Block) -> KnownAnswer:
        """Train `config` in slot 0 of `block`, whose contents are lost, and evaluate it at the start and every step."""
        block.load_run(0, config, block.start(config))
        numbers, weights, gradients = [_numbers(block)], [block.weights_of(0)], [_gradient(block)]
        for _ in range(_NUM_STEPS):
            block.train(1, [0])
            numbers.append(_numbers(block))
            weights.append(block.weights_of(0))
            gradients.append(_gradient(block))
        return KnownAnswer(tuple(numbers), tuple(weights), tuple(gradients))


def _numbers(block: Block) -> dict[str, float]:
    last = {name: values_S[:1] for name, values_S in block.last.items()}
    return {
        name: float(value[0]) for part in to_host(last, block.evaluate(_NUM_ITEMS, [0])) for name, value in part.items()
    }


def _gradient(block: Block) -> Array:
    return np.array(block.layout.compact(block.grad_SP[0]).cpu().numpy())


def known_answer(config: RunConfig, block: Block) -> KnownAnswer:
    """The answer of `block`, whose contents are lost, checked against the torch engine unless that is its own.

    Raises WrongProgramError, with both numbers, where they differ by more than rounding.
    """
    found = KnownAnswer.of(config, block)
    if block.engine_name != "torch":
        by_torch = Block(config, 1, torch.device("cpu"), threads=block.threads)
        _compare(found, KnownAnswer.of(config, by_torch), _TOLERANCE[config.dtype])
    return found


def _compare(found: KnownAnswer, expected: KnownAnswer, tolerance: float) -> None:
    for step, numbers in enumerate(expected.numbers):
        for name, number in numbers.items():
            if name in Block.LAST or step == 0:
                _refuse_unless_close(f"{name} at step {step}", found.numbers[step][name], number, tolerance)
        if step:
            moved, right = (np.subtract(answer.weights[step], answer.weights[step - 1]) for answer in (found, expected))
            is_fixed = ~_is_rounding(expected.gradients[step], tolerance)
            size, off = _norm(right), _norm(np.subtract(moved, right)[is_fixed])
            if np.isfinite(size):
                name = f"the step of length {size!r} to step {step} differs: the length of the difference"
                _refuse_unless_close(name, off, 0.0, _MOVED_FACTOR * tolerance, scale=size)
            if not size <= _LARGE_STEP * _norm(expected.weights[step - 1]):
                return


def _refuse_unless_close(
    name: str, found: float, expected: float, tolerance: float, scale: float | None = None
) -> None:
    size = max(abs(expected) if scale is None else scale, 1e-6)
    is_close = abs(found - expected) <= tolerance * size if np.isfinite(expected) else not np.isfinite(found)
    if not is_close:
        raise WrongProgramError(f"{name} is {found!r}, and by torch {expected!r}")


def _is_rounding(gradient: Array, tolerance: float) -> Bools:
    """Where a gradient is 0 but for rounding: a weight that goes by its sign, say, may move either way there.

    As of the bias of an attention's keys, which softmax takes out again. One that is exactly 0 is no such.
    """
    sizes = np.abs(gradient.astype(np.float64))
    found: Bools = (sizes > 0) & (sizes <= tolerance * np.sqrt(np.mean(np.square(sizes))))
    return found


def _norm(array: Array) -> float:
    return float(np.linalg.norm(array.astype(np.float64)))
