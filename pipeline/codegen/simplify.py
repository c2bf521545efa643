"""Maps that need not be computed: neutral operands, and masks that are added."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codegen.nodes import ConstantNode, Operand


def simplified(function: str, inputs: tuple[Operand, ...]) -> Operand | None:
    """One of the operands, where the function gives just that: x + 0, x - 0, 1 x, x / 1."""
    for place, one in enumerate(inputs):
        neutral = {"plus": (0, 1), "times_": (1, 1), "minus": (0, 0), "over": (1, 0)}.get(function)
        if neutral is None or not isinstance(one.node, ConstantNode) or (place == 0 and not neutral[1]):
            continue
        if (one.node.values[one.index] == neutral[0]).all():
            return inputs[1 - place]
    return None


def masked(inputs: tuple[Operand, ...]) -> tuple[NDArray[np.bool_], Operand] | None:
    """Where a sum with a mask of 0 and -inf is -inf, and the other operand."""
    for place, one in enumerate(inputs):
        if isinstance(one.node, ConstantNode):
            numbers = one.node.values[one.index]
            if np.isneginf(numbers).any() and ((numbers == 0) | np.isneginf(numbers)).all():
                return np.isneginf(numbers), inputs[1 - place]
    return None
