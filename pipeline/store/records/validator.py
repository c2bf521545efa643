"""Whether values are of a shape, without saying where they are not: for thousands of documents of one kind."""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import call
from typing import Any

from pipeline.store.shapes import Exactly, Row, Shape, Some, Whole, misfit


def validator(shape: Shape) -> Callable[[Any], bool]:
    """A function that is True for values of a shape, as JSON gives them; built once.

    Where it is False `misfit` decides, and says what is wrong: a value of a subclass, say, may fit.
    """
    if isinstance(shape, type):
        return lambda value: type(value) is shape
    if shape is None:
        return lambda value: value is None
    if isinstance(shape, str):
        return lambda value: type(value) is str and value == shape
    if isinstance(shape, re.Pattern):
        return lambda value: type(value) is str and shape.fullmatch(value) is not None
    if isinstance(shape, Whole):
        least = shape.least
        return lambda value: type(value) is int and least <= value < 2**63
    if isinstance(shape, tuple):
        return _any_of(shape)
    if isinstance(shape, list | Some):
        return _list_of(shape)
    if isinstance(shape, Row):
        return _row_of(shape)
    if isinstance(shape, dict | Exactly):
        return _mapping_of(shape)
    return lambda value: misfit(value, shape) is None


def _any_of(shapes: tuple[Shape, ...]) -> Callable[[Any], bool]:
    first, *others = shapes
    is_first = validator(first)
    if not others:
        return is_first
    is_other = _any_of(tuple(others))
    # `any` of a generator takes twice as long.
    return lambda value: is_first(value) or is_other(value)


def _row_of(shape: Row) -> Callable[[Any], bool]:
    cells = [*map(validator, shape.items)]
    return lambda value: type(value) is list and len(value) == len(cells) and all(map(call, cells, value))


def _list_of(shape: list[Any] | Some) -> Callable[[Any], bool]:
    is_item = validator(shape[0] if isinstance(shape, list) else shape.item)
    least = 0 if isinstance(shape, list) else 1
    return lambda value: type(value) is list and len(value) >= least and all(map(is_item, value))


def _mapping_of(shape: dict[Any, Any] | Exactly) -> Callable[[Any], bool]:
    keys = shape.keys if isinstance(shape, Exactly) else shape
    (first,) = keys if len(keys) == 1 else (None,)
    if first is not None and not isinstance(first, str):
        is_key, is_value = validator(first), validator(keys[first])
        return lambda value: type(value) is dict and all(map(is_key, value)) and all(map(is_value, value.values()))
    inside = [(key.removesuffix("?"), key[-1:] != "?", validator(inner)) for key, inner in keys.items()]
    is_exact = isinstance(shape, Exactly)

    def fits(value: Any) -> bool:
        if type(value) is not dict:
            return False
        num_known = 0
        for name, is_needed, is_inside in inside:
            if name in value:
                num_known += 1
                if not is_inside(value[name]):
                    return False
            elif is_needed:
                return False
        return num_known == len(value) or not is_exact

    return fits
