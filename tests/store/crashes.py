"""Crashes injected into the system calls that change the disk."""

from __future__ import annotations

import os

from pipeline.store import files


class CrashError(Exception):
    """The injected crash."""


def crash_points(monkeypatch, point):
    """Fails the `point`-th call of any system call that changes the disk, before or after it took effect."""
    calls = iter(range(10**9))

    def wrap(function, after):
        def wrapped(*arguments, **options):
            number = next(calls)
            if number == point and not after:
                raise CrashError
            result = function(*arguments, **options)
            if number == point:
                raise CrashError
            return result

        return wrapped

    for name in ("rename", "fsync"):
        monkeypatch.setattr(files.os, name, wrap(getattr(os, name), after=point % 2 == 1))
