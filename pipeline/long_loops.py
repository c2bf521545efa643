"""How much is done of loops that may take long, told to whoever shows it: bars on a terminal, as a rule.

A loop inside a pass of another one counts as that part of the pass which it has done. Loops of other threads than that
of the watcher are not told of, but a loop may say from any thread that a pass of it is done.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Protocol, TypeVar

_Item = TypeVar("_Item")


class LoopWatcher(Protocol):
    """Is told of each outermost loop: that it begins, the share that is done (0 to 1, never less), and that it ends."""

    def begin(self, what: str) -> None:
        """A loop begins; `what` it does, as `reading histories`."""

    def show(self, share: float) -> None:
        """So much of it is done; from any thread."""

    def end(self) -> None:
        """It has ended, or was left by an error."""


class LongLoop:
    """A loop of so many passes. `by_inner`: each loop inside it is a pass of it."""

    def __init__(self, num_passes: int, by_inner: bool, above: LongLoop | None, watcher: LoopWatcher | None) -> None:
        self._num_passes, self.by_inner, self._above, self._watcher = max(num_passes, 1), by_inner, above, watcher
        self._num_done, self._most, self._lock = 0, 0.0, Lock()

    def pass_done(self) -> None:
        """One more pass is done."""
        with self._lock:
            self._num_done += 1
        self.inside(0.0)

    def inside(self, share: float) -> None:
        """So much of the pass that is under way is done."""
        with self._lock:
            # Several loops may follow one another in a pass.
            self._most = max(self._most, min((self._num_done + share) / self._num_passes, 1.0))
            if self._above is not None:
                self._above.inside(self._most)
            elif self._watcher is not None:
                self._watcher.show(self._most)


_WATCHER: ContextVar[LoopWatcher | None] = ContextVar("_WATCHER", default=None)
_LOOP: ContextVar[LongLoop | None] = ContextVar("_LOOP", default=None)


@contextmanager
def loops_watched_by(watcher: LoopWatcher | None) -> Iterator[None]:
    """In this context the watcher is told of loops; nobody is where it is None."""
    watching, loop = _WATCHER.set(watcher), _LOOP.set(None)
    try:
        yield
    finally:
        _WATCHER.reset(watching)
        _LOOP.reset(loop)


@contextmanager
def long_loop(what: str, num_passes: int, *, by_inner: bool = False) -> Iterator[LongLoop]:
    """In this context a loop of so many passes is under way, which says of each that it is done."""
    above, watcher = _LOOP.get(), _WATCHER.get()
    loop = LongLoop(num_passes, by_inner, above, watcher)
    is_outermost = above is None and watcher is not None
    if is_outermost:
        assert watcher is not None
        watcher.begin(what)
    token = _LOOP.set(loop)
    try:
        yield loop
    finally:
        _LOOP.reset(token)
        if above is not None and above.by_inner:
            above.pass_done()
        if is_outermost:
            assert watcher is not None
            watcher.end()


def loop_over(what: str, items: Collection[_Item]) -> Iterator[_Item]:
    """The items one after another, each of them a pass of a loop.

    >>> [number**2 for number in loop_over("squaring", range(3))]
    [0, 1, 4]
    """
    with long_loop(what, len(items)) as loop:
        for item in items:
            yield item
            loop.pass_done()
