"""Alternative names of spec fields: former names are refused with the current one, American spelling is accepted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.spec.errors import Place
from pipeline.spec.yaml_source import Source

# Former field -> what it is called now.
FORMER_NAMES: dict[tuple[str, ...], str] = {
    ("settings",): "vary",
    ("resources", "width"): "resources.slots",
    ("resources", "mode"): "resources.engine (auto, torch or compiled)",
    ("resources", "products"): "resources.matmul_precision",
}
_SPELLINGS = {"optimizer": "optimiser"}


def former_name(place: tuple[str | int, ...]) -> str | None:
    """The sentence for a field that has another name now; None for any other place."""
    name = FORMER_NAMES.get(tuple(str(part) for part in place))
    return None if name is None else f"is called {name} now"


def present_form(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A spec as a results folder holds it, every field written out, in the present fields.

    Sweeps of earlier versions had no windows and took no readings, and their `snapshots.weights` were training states.
    """
    spec = {**stored}
    if "windows" not in spec:
        spec |= {"windows": [], "readings": []}
    kept = spec.get("snapshots")
    if isinstance(kept, Mapping) and "weights" in kept and "states" not in kept:
        spec["snapshots"] = {**kept, "states": kept["weights"], "weights": None}
    return spec


def respelled(key: str) -> str:
    """A key, or a dotted path, whose first part is spelled as fields are: optimizer.lr as optimiser.lr."""
    first, dot, rest = key.partition(".")
    return f"{_SPELLINGS.get(first, first)}{dot}{rest}"


def respell(source: Source) -> None:
    """Respells the keys of a spec in place, with their places; existing keys are never overwritten."""
    source.data = _respelled(source.data)
    source.where = {_respelled_place(place, source.data): text for place, text in source.where.items()}


def _respelled(value: Any) -> Any:
    if isinstance(value, list):
        return [_respelled(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key if respelled(key) in value else respelled(key): _respelled(item) for key, item in value.items()}


def _respelled_place(place: Place, data: Any) -> Place:
    """The place after respelling: a part is respelled where it is not a key of its mapping any more."""
    parts: list[str | int] = []
    for part in place:
        is_gone = isinstance(data, dict) and isinstance(part, str) and part not in data
        part = respelled(part) if is_gone and isinstance(part, str) else part
        parts.append(part)
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            data = None
    return tuple(parts)
