"""Order in which the packs of a sweep are begun: fair to settings in the first third, and short packs last after it.

Pure functions of expected lengths, which are passed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")
# Of each part's packs: with a half, workers for every second pack would begin long ones late.
_IN_TURN = 1 / 3


def in_turn(items: Sequence[_Item], part_of: Callable[[_Item], Hashable]) -> list[_Item]:
    """The first item of every part, then the second of every part, and so on.

    Where parts are equally long, their numbers of items in any prefix differ by one at most.

    >>> in_turn(["a1", "a2", "b1", "b2", "a3"], lambda item: item[0])
    ['a1', 'b1', 'a2', 'b2', 'a3']
    """
    parts = [*map(part_of, items)]
    if len({*parts}) == 1:
        return [*items]
    taken: dict[Hashable, int] = {}
    rank = []
    for part in parts:
        taken[part] = taken.get(part, -1) + 1
        rank.append(taken[part])
    return [items[place] for place in sorted(range(len(items)), key=rank.__getitem__)]


def begun_in_order(packs: Mapping[str, Sequence[_Item]], expected_s: Mapping[str, float]) -> list[_Item]:
    """The packs of all parts in the order in which they are to be begun; a part's own keep their order.

    `packs` maps a part (the packs of one static setting) to its packs, and `expected_s` to the seconds that each of
    them is expected to take, in any unit. A third of each part's packs, rounded up, take turns, the longest of a
    turn first: up to there a partial look is fair to all parts. Of the others the longest come first, since workers end
    apart by no more than what begins last. Lengths count as equal where their logarithms to base 2 round alike, and
    parts of equal lengths always take turns.

    >>> begun_in_order({"short": ["s1", "s2", "s3", "s4"], "long": ["l1", "l2", "l3", "l4"]}, {"short": 1, "long": 8})
    ['l1', 's1', 'l2', 's2', 'l3', 'l4', 's3', 's4']
    """
    size = {part: round(math.log2(expected_s[part])) if expected_s[part] > 0 else -math.inf for part in packs}
    longest_first = sorted(packs, key=lambda part: -size[part])
    num_in_turn = {part: math.ceil(len(packs[part]) * _IN_TURN) for part in packs}
    first = [(part, pack) for part in longest_first for pack in packs[part][: num_in_turn[part]]]
    rest = [(part, pack) for part in longest_first for pack in packs[part][num_in_turn[part] :]]
    ordered = in_turn(first, lambda pair: pair[0])
    # Stable, so that parts of one size keep taking turns.
    ordered += sorted(in_turn(rest, lambda pair: pair[0]), key=lambda pair: -size[pair[0]])
    return [pack for _, pack in ordered]
