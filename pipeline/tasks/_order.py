"""Orders of items that no state keeps: an epoch's, and that of a held-out set at a step, each from its own words."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.numerics.streams import Draws

# Items of all orders that are kept, since successive batches need the same one: 64 MiB.
_MOST_KEPT = 2**23
_kept: OrderedDict[tuple[int, int, int, int, int], NDArray[np.int64]] = OrderedDict()


def epoch_places(draws: Draws, num_items: int) -> Tensor:
    """(S, B): the place in [0, num_items) of each row's item, every item once an epoch.

    Examples are counted over the steps of a run: that of row r at step t is the (t B + r)-th, B the batch size. Each
    epoch has its own order, uniform over all (but for ties of 32-bit words), a function of the stream's key and the
    epoch's number alone. A batch may end one epoch and begin the next.
    """
    assert draws.steps_S.dim() == 1
    per_step = draws.num_rows if draws.examples_per_step is None else draws.examples_per_step
    counts_SB = np.asarray(draws.steps_S.cpu())[:, None] * per_step + _rows(draws)
    return _placed(draws, num_items, counts_SB, [None] * len(counts_SB))


def fresh_places(draws: Draws, num_items: int) -> Tensor:
    """(S, B): places in [0, num_items) in an order of the step's own; beyond num_items rows, in another, and so on.

    So as many rows as items are all items once.
    """
    counts_SB = np.broadcast_to(_rows(draws), (len(draws.steps_S), draws.num_rows))
    return _placed(draws, num_items, counts_SB, draws.steps_S.tolist())


def _rows(draws: Draws) -> NDArray[np.int64]:
    return np.arange(draws.first_row, draws.first_row + draws.num_rows)


def _placed(draws: Draws, num_items: int, counts_SB: NDArray[np.int64], steps: list[int | None]) -> Tensor:
    import torch

    keys, places_SB = draws.keys_S2.tolist(), np.empty(counts_SB.shape, np.int64)
    for slot, step in enumerate(steps):
        rounds_B = counts_SB[slot] // num_items
        for number in np.unique(rounds_B).tolist():
            chosen_B = rounds_B == number
            # Substream 1 on are the rounds of one step, 0 those of all steps.
            place = (number, 0) if step is None else (step, 1 + number)
            order = _order((*keys[slot], *place, num_items))
            places_SB[slot, chosen_B] = order[counts_SB[slot, chosen_B] % num_items]
    return torch.from_numpy(places_SB).to(draws.keys_S2.device)


def _order(place: tuple[int, int, int, int, int]) -> NDArray[np.int64]:
    """(n,): 0 to n - 1 in the order of as many words, of a key (two words), step and substream; ties by number."""
    if place in _kept:
        _kept.move_to_end(place)
        return _kept[place]
    import torch

    from pipeline.numerics.streams import Draws

    *key, step, substream, num_items = place
    draws = Draws(torch.tensor([key]), torch.tensor([step]), num_rows=1)
    order = np.argsort(draws.words(num_items, substream).numpy().ravel(), kind="stable")
    _kept[place] = order
    while len(_kept) > 1 and sum(map(len, _kept.values())) > _MOST_KEPT:
        _kept.popitem(last=False)
    return order
