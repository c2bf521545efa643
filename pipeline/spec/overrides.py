"""A sweep file as it is read, with values put into it from the command line: "optimiser.lr=1e-2"."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.own_code.entries import resolve_imports
from pipeline.spec.errors import Mistake, Place, dotted, shown
from pipeline.spec.renamed import respell, respelled
from pipeline.spec.yaml_source import MAX_DEPTH, Source, read_spec_file, read_value


def spec_source(path: str | Path, overrides: Sequence[str], imports: Sequence[str]) -> Source:
    """A sweep file in the present spelling, with overrides and more `imports` in place, not validated yet.

    What cannot be put in place is among its mistakes. Raises SpecError where the file cannot be read at all.
    """
    source = read_spec_file(path)
    respell(source)
    apply_overrides(source, overrides)
    for place, message in resolve_imports(source.data, Path(path).resolve().parent, imports):
        source.mistakes.append(Mistake(source.locate(place), dotted(place), message))
    return source


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
