"""How large a page may become: bytes as text for each of its parts, which together stay below MOST_BYTES.

The rest is its script and style sheet, 0.15 MB. What a part leaves out to keep within its share, the page says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

MOST_BYTES = 5_000_000
# Of the runs, with their curves and settings; attention maps; static figures; tables.
RUNS_SHARE, MAPS_SHARE, FIGURES_SHARE, TABLES_SHARE = 2_400_000, 800_000, 1_200_000, 300_000
# A byte of what is no text takes so many of base64.
AS_TEXT = 4 / 3

_Row = TypeVar("_Row")


def evenly_spaced(num: int, most: int) -> list[int]:
    """At most `most` of the places 0 to num - 1, evenly spaced, the first and the last among them where most > 1.

    >>> evenly_spaced(10, 4), evenly_spaced(2, 4)
    ([0, 3, 6, 9], [0, 1])
    """
    if num <= most:
        return list(range(num))
    return sorted(set(np.linspace(0, num - 1, most).round().astype(int).tolist()))


def rows_that_fit(rows: Sequence[_Row], text_of: Callable[[_Row], str], most_bytes: int) -> list[int]:
    """Places of the rows that a table of so many bytes holds: all, or an even sample that fits whichever they are.

    >>> rows_that_fit(["a", "bb", "c", "d"], str, 4), rows_that_fit(["a", "b"], str, 0)
    ([0, 3], [])
    """
    sizes = [len(text_of(row).encode()) for row in rows]
    if sum(sizes) <= most_bytes:
        return list(range(len(rows)))
    return evenly_spaced(len(rows), most_bytes // max(sizes))
