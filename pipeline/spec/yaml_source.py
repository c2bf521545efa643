"""A strict YAML reader that keeps the line of every value.

Only what a spec needs of YAML is read: mappings, lists, text, true/false, null, whole numbers and decimals. What YAML
reads in surprising ways is refused with a line: duplicate keys, anchors, aliases, tags, merge keys, NaN and infinity.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipeline.spec.errors import Mistake, Place, SpecError, dotted, shown

MAX_BYTES = 2**20
MAX_DEPTH = 50
# Reading takes a tenth of a millisecond for each.
MAX_ITEMS = 20_000
MAX_MISTAKES = 200
_MAX_INTEGER = 2**63 - 1
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)", re.ASCII)
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?\.?(nan|inf|infinity)", re.IGNORECASE)
_OTHER_BREAK = re.compile("[\\x85\\u2028\\u2029]|\\r(?!\\n)")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass
class Source:
    """`data` as plain dicts, lists and scalars; `where` maps each path inside it to the text that locates it.

    `mistakes` are the refused constructs; if not `is_whole`, reading stopped early because of them.
    """

    data: Any
    where: dict[Place, str]
    mistakes: list[Mistake] = field(default_factory=list)
    is_whole: bool = True

    def locate(self, path: Place) -> str:
        """The location of `path`; for a missing path, that of its nearest enclosing value."""
        return next(self.where[path[:length]] for length in range(len(path), -1, -1) if path[:length] in self.where)

    def in_order(self, mistakes: Iterable[Mistake]) -> list[Mistake]:
        """Mistakes in the order of the text, overrides last."""
        order: dict[str, int] = {}
        for text in self.where.values():
            order.setdefault(text, len(order))
        return sorted(mistakes, key=lambda mistake: order.get(mistake.where, len(order)))


def read_spec_file(path: str | Path) -> Source:
    """The spec in a file. Raises SpecError when it cannot be read, or is not one YAML mapping."""
    name = str(path) if str(path).isprintable() else repr(str(path))
    try:
        content = _content(Path(path))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SpecError([Mistake(name, "", f"cannot be read: {reason}")]) from None
    if len(content) > MAX_BYTES:
        size = Path(path).stat().st_size
        raise SpecError([Mistake(f"{name}:1", "", f"a spec holds at most {MAX_BYTES} bytes, given {size}")])
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecError([Mistake(f"{name}:{line}", "", "must be UTF-8 text")]) from None
    return read_text(text, name)


def _content(path: Path) -> bytes:
    """The bytes of a file, no more than one beyond what a spec may hold; another thing than a file is an OSError."""
    # Opening a pipe would wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        os.close(descriptor)
        raise OSError(errno.EINVAL, "Is a directory" if is_folder else "it is a pipe, a device or a socket, not a file")
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read(MAX_BYTES + 1)


def read_text(text: str, name: str = "spec") -> Source:
    """The spec in `text`; its places read `name`:line. Raises SpecError when it is not one YAML mapping."""
    source = _read(text, lambda line: f"{name}:{line + 1}")
    if source.is_whole and not isinstance(source.data, dict):
        message = "the file is empty" if source.data is None else f"given {shown(source.data)}"
        source.mistakes.append(Mistake(source.where[()], "", f"a spec must be a mapping of `key: value`; {message}"))
        source.is_whole = False
    if not source.is_whole:
        raise SpecError(source.mistakes)
    return source


def read_value(text: str, where: str) -> Source:
    """One value, such as the right-hand side of an override, every part of it located at `where`."""
    return _read(text, lambda line: where)


def read_scalar(text: str) -> Any:
    """What unquoted text means: null, true, false, an int, a float, or else itself.

    Raises ValueError for NaN, infinities and numbers beyond 64 bits.
    """
    if text in ("", "~", "null"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"must be a finite number, given {text}; quote it if text is meant")
    if _INTEGER.fullmatch(text):
        if len(text) > 20 or abs(int(text)) > _MAX_INTEGER:
            raise ValueError(f"must be a whole number of at most 64 bits, given {shown(text)}")
        return int(text)
    if _DECIMAL.fullmatch(text):
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise ValueError(f"must be a finite number, given {shown(text)}")
        return number
    return text


class _Refused(Exception):  # noqa: N818 - a signal inside this file, not an error of its users
    """Reading must stop: at this line, with this message."""


class _Reader:
    """Builds values from parser events, so that depth is limited before anything recurses."""

    def __init__(self, events: Iterator[yaml.Event], source: Source, where: Callable[[int], str]) -> None:
        self.line = 0
        self.num_items = 0
        self.events = events
        self.source = source
        self.where = where

    def refuse(self, event: yaml.Event, path: Place, message: str) -> None:
        self.source.mistakes.append(Mistake(self.where(_line(event)), dotted(path), message))
        if len(self.source.mistakes) >= MAX_MISTAKES:
            raise _Refused(_line(event), f"{MAX_MISTAKES} mistakes so far; the rest of the file was not read")

    def value(self, event: yaml.Event, path: Place) -> Any:
        self.line = _line(event)
        self.source.where.setdefault(path, self.where(self.line))
        self.num_items += 1
        if self.num_items > MAX_ITEMS:
            raise _Refused(self.line, f"a spec holds at most {MAX_ITEMS} values; write long lists as {{range: [0, N]}}")
        if len(path) > MAX_DEPTH:
            raise _Refused(_line(event), f"nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.AliasEvent):
            self.refuse(event, path, "aliases (*name) are refused; write the value out")
            return None
        assert isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent))
        if event.anchor is not None:
            self.refuse(event, path, "anchors (&name) are refused; write the value out where it is needed")
        if event.tag is not None:
            self.refuse(event, path, "tags (!name) are refused; write plain values")
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event, path)
        return self.sequence(path) if isinstance(event, yaml.SequenceStartEvent) else self.mapping(path)

    def scalar(self, event: yaml.ScalarEvent, path: Place) -> Any:
        if _LONE_SURROGATE.search(event.value):
            self.refuse(event, path, "text must be Unicode without lone surrogates")
        if event.style is not None:
            return event.value
        try:
            return read_scalar(event.value)
        except ValueError as error:
            self.refuse(event, path, str(error))
            return None

    def sequence(self, path: Place) -> list[Any]:
        items: list[Any] = []
        for event in self.events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self.value(event, (*path, len(items))))
        return items

    def mapping(self, path: Place) -> dict[str, Any]:
        items: dict[str, Any] = {}
        for event in self.events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self.key(event, path, items)
            if key is not None:
                self.source.where[(*path, key)] = self.where(_line(event))
            value = self.value(next(self.events), (*path, "?" if key is None else key))
            if key is not None:
                items[key] = value
        return items

    def key(self, event: yaml.Event, path: Place, items: dict[str, Any]) -> str | None:
        """The text of a key; None where it is refused."""
        if not isinstance(event, yaml.ScalarEvent):
            self.refuse(event, path, "a key must be plain text, given a list, mapping or alias")
            self.value(event, (*path, "?"))
            return None
        key = str(event.value)
        if event.anchor is not None or event.tag is not None:
            self.refuse(event, (*path, key), "anchors and tags on keys are refused")
        elif key == "<<" and event.style is None:
            self.refuse(event, path, "merge keys (<<) are refused; write the values out")
        elif not key or _LONE_SURROGATE.search(key):
            self.refuse(event, path, f"a key must be text, given {shown(key)}")
        elif key in items:
            first = self.source.where[(*path, key)]
            self.refuse(event, (*path, key), f"duplicate key, first given at {first}")
        else:
            return key
        return None


def _read(text: str, where: Callable[[int], str]) -> Source:
    source = Source(None, {(): where(0)})

    def stop(line: int, message: str) -> None:
        source.mistakes.append(Mistake(where(line), "", message))
        source.is_whole = False

    for number, row in enumerate(text.split("\n")):
        if "\t" in row[: len(row) - len(row.lstrip())] and len(source.mistakes) < MAX_MISTAKES:
            stop(number, "tab in the indentation; indent with spaces")
    odd = _OTHER_BREAK.search(text)
    if odd is not None:
        line = text.count("\n", 0, odd.start())
        stop(line, f"line break U+{ord(odd[0]):04X} is refused, since editors and YAML count lines differently by it")
    if not source.is_whole:
        return source
    reader = None
    try:
        events = yaml.parse(text, Loader=yaml.SafeLoader)
        first = _first_event(events)
        if first is not None:
            reader = _Reader(events, source, where)
            source.data = reader.value(first, ())
            next(events)
            extra = next(events)
            if not isinstance(extra, yaml.StreamEndEvent):
                stop(_line(extra), "one document per file, given another")
    except _Refused as refused:
        stop(*refused.args)
    except yaml.reader.ReaderError as error:
        stop(text.count("\n", 0, error.position), f"character {error.character!r} is not allowed")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        stop(0 if mark is None else mark.line, f"not valid YAML: {_one_line(error)}")
    except (ValueError, OverflowError):
        # PyYAML hands escapes such as "\UFFFFFFFF" to chr() unchecked.
        stop(0 if reader is None else reader.line, "here or below, an escape in quoted text names no character")
    return source


def _first_event(events: Iterator[yaml.Event]) -> yaml.Event | None:
    """The event that opens the one value of the text; None where the text is empty."""
    next(events)
    start = next(events)
    if not isinstance(start, yaml.DocumentStartEvent):
        return None
    if start.version is not None or start.tags:
        raise _Refused(_line(start), "directives (%YAML, %TAG) are refused")
    return next(events)


def _line(event: yaml.Event) -> int:
    assert event.start_mark is not None
    return event.start_mark.line


def _one_line(error: yaml.MarkedYAMLError) -> str:
    parts = (error.context, error.problem, error.note)
    return " ".join("; ".join(part for part in parts if part).split())


class _Dumper(yaml.SafeDumper):
    """Quotes ambiguous text, and repeats values instead of writing anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if _is_plain(text) else '"')


def _is_plain(text: str) -> bool:
    try:
        return isinstance(read_scalar(text), str) and text != "<<" and text.isprintable()
    except ValueError:
        return False


_Dumper.add_representer(str, _represent_text)


def to_yaml(data: Mapping[str, Any]) -> str:
    """Text that reads back as `data`, which holds plain dicts, lists and scalars."""
    options: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 100, "default_flow_style": None}
    return str(yaml.dump(dict(data), Dumper=_Dumper, **options))
