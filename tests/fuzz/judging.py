"""What a good answer to any input is."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from sweeps.command.exit_codes import BAD_INPUT, COMPLETE, FAILED, INCOMPLETE, INTERRUPTED
from tests.fuzz.case import Case
from tests.fuzz.server import LIMIT_MIB, LIMIT_S, Answer

DOCUMENTED = (COMPLETE, FAILED, BAD_INPUT, INCOMPLETE, INTERRUPTED)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f]")
# Of a run and a step, where no other name is given.
_CHECKPOINT = re.compile("[0-9a-f]{16}-[0-9]+[.]ckpt")
# What they find wrong is their result.
_SHOW_DAMAGE = ("verify", "status")
State = Mapping[str, tuple[int, ...]]


def state(base: Path) -> State:
    """Every path below a folder, with what changes when it is written to."""
    found: dict[str, tuple[int, ...]] = {}
    for folder, folders, files in os.walk(base):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            seen = os.lstat(path)
            is_folder = name in folders
            found[os.path.relpath(path, base)] = (seen.st_ino, seen.st_mode, 0 if is_folder else seen.st_mtime_ns)
    return found


def problems(case: Case, answer: Answer, before: State, after: State) -> Iterator[str]:
    """What is wrong with an answer, a line each."""
    is_training = case.is_long and answer.is_late and bool(answer.text.strip())
    if "Traceback" in answer.text:
        yield f"traceback: {answer.text[-1500:]}"
    elif "a mistake in seedbed" in answer.text:
        yield f"not foreseen: {answer.text[-600:]}"
    if not is_training and (answer.is_late or answer.cpu_s > LIMIT_S):
        yield f"late: {answer.cpu_s:.1f} s of processor time, {answer.wall_s:.1f} s in all"
    if (answer.peak_mib > LIMIT_MIB and not is_training) or "memory has run out" in answer.text:
        yield f"memory: {answer.peak_mib:.0f} MiB; {answer.text[-300:]}"
    if not answer.is_late and answer.code not in DOCUMENTED:
        yield f"exit code {answer.code}; {answer.text[-300:]}"
    if case.stdout == case.stderr == "file" and not answer.is_late:
        if not answer.text.strip():
            yield f"exit code {answer.code} without a word"
        elif answer.code in (FAILED, BAD_INPUT) and not answer.err.strip() and case.arguments[0] not in _SHOW_DAMAGE:
            yield "nothing on standard error"
        elif answer.code in (FAILED, BAD_INPUT) and case.names and not any(map(answer.text.__contains__, _names(case))):
            yield f"names no file: {answer.text[-300:]}"
    if (found := _CONTROL.search(answer.text)) is not None:
        yield f"prints a control character: {answer.text[max(0, found.start() - 80) : found.end() + 40]!r}"
    yield from _strange(case, before, after)


def _names(case: Case) -> Iterator[str]:
    """What a refusal may call the files of a case: a path is printed without the slashes that end it."""
    yield from (name.rstrip("/") or name for name in case.names)


def _strange(case: Case, before: State, after: State) -> Iterator[str]:
    """Files that changed and that the command does not name."""
    changed = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    for path in changed:
        if not _may_write(case, path):
            yield f"writes {path!r}"
            return


def _may_write(case: Case, path: str) -> bool:
    head, _, below = path.partition(os.sep)
    if head in ("out", "err"):
        return True
    if head == "tmp":
        return True
    if head == "home":
        return below in (".cache", "") or below.startswith(".cache/")
    if case.reads_only:
        return _is_cache(case, below)
    named = [os.path.normpath(argument) for argument in case.arguments if argument]
    if case.arguments[:1] == ("new",):
        named += [f"{name}{ending}" for name in named[1:] for ending in (".py", ".yaml")]
    if case.arguments[:1] == ("checkpoint",) and _CHECKPOINT.fullmatch(below):
        return True
    # What is made of several folders, which options may stand around, stands beside the first.
    given = range(1, len(named) + 1)
    named += [
        *("+".join(named[first:end]) for end in given for first in range(1, end - 1)),
        "results",
        "wandb",
        *(f"{name}-{what}" for name in named for what in ("ceiling", "ahead", "twins")),
    ]
    return (
        _is_cache(case, below)
        or any(below == name or below.startswith(f"{name}{os.sep}") for name in named)
        or any(name.startswith(f"{below}{os.sep}") for name in named)
    )


def _is_cache(case: Case, below: str) -> bool:
    """Whether it lies where the case's environment puts caches and temporary files."""
    places = [case.environment.get(name) for name in ("XDG_CACHE_HOME", "HOME", "TMPDIR")]
    return any(place and (below == place or below.startswith(f"{place}{os.sep}")) for place in places)
