"""Values put into a spec from the command line: "optimiser.lr=1e-2"."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.spec.errors import Mistake, Place, dotted, shown
from pipeline.spec.renamed import respelled
from pipeline.spec.yaml_source import MAX_DEPTH, Source, read_value


def apply_overrides(source: Source, overrides: Sequence[str]) -> None:
    """Puts each value at its dotted path in `source`, located by the override; errors are added to the mistakes.

    Whether a field of that name exists is checked when the whole spec is validated.
    """
    seen: set[Place] = set()
    for override in overrides:
        where = f"override {shown(override)}"
        path, equals, text = override.partition("=")
        keys = _split(path.strip())
        if not equals or not all(keys) or len(keys) > MAX_DEPTH:
            source.mistakes.append(Mistake(where, "", "should be field=value, such as optimiser.lr=1e-2"))
        elif keys in seen:
            source.mistakes.append(Mistake(where, dotted(keys), "given twice"))
        else:
            seen.add(keys)
            _put(source, keys, read_value(text, where), where)


def _put(source: Source, keys: tuple[str, ...], value: Source, where: str) -> None:
    source.mistakes += [Mistake(where, dotted(keys), mistake.message) for mistake in value.mistakes]
    inside = source.data
    for depth, key in enumerate(keys[:-1], start=1):
        if inside.get(key) is None:
            inside[key] = {}
        if not isinstance(inside[key], dict):
            message = "holds no keys of its own; name the whole field"
            source.mistakes.append(Mistake(where, dotted(keys[:depth]), message))
            return
        source.where.setdefault(keys[:depth], where)
        inside = inside[key]
    inside[keys[-1]] = value.data
    kept = {place: line for place, line in source.where.items() if place[: len(keys)] != keys}
    source.where = kept | {(*keys, *place): line for place, line in value.where.items()}


def _split(path: str) -> tuple[str, ...]:
    """Keys of a dotted path; the name of a stream may hold dots itself."""
    if path.startswith("streams."):
        return ("streams", path.removeprefix("streams."))
    return tuple(respelled(path).split("."))
