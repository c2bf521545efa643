"""Numbers of things in words."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """A number of things, whose plural ends in s.

    >>> counted(1, "setting"), counted(2, "setting"), counted(10_000, "run")
    ('1 setting', '2 settings', '10,000 runs')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"
