"""How a sweep is trained, as options of a command say it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class How:
    """How a sweep is trained: on the Ray cluster at `address`, in this process, or by a local Ray.

    `accepts_changed_code`: goes on with runs that other code began. `retries_failed`: tries runs again that failed.
    """

    address: str | None = None
    is_inline: bool = False
    accepts_changed_code: bool = False
    retries_failed: bool = False


# By a local Ray.
HERE = How()
