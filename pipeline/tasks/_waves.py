"""A small made data set, so that the task can be tried before there are data: waves of several forms, as tokens."""

from __future__ import annotations

from functools import cache

import numpy as np

from pipeline.arrays import Array

_NUM_ITEMS, _LENGTH, _NUM_LEVELS = 1200, 16, 8
_FORMS = ("sine", "square", "triangle", "sawtooth")


@cache
def waves() -> dict[str, Array]:
    """1,200 sequences of 16 levels, 0 to 7: two periods of a sine, square, triangle or sawtooth, which is the target.

    Phase and height are uniform, and uniform noise is added before the levels are taken.
    """
    # The words of a bit generator never change; what numpy makes of them may.
    words = np.random.Philox(key=2017).random_raw(_NUM_ITEMS * (2 + _LENGTH)).reshape(_NUM_ITEMS, -1)
    unit = (words >> np.uint64(40)).astype(np.float64) / 2.0**24
    forms_N = np.arange(_NUM_ITEMS) % len(_FORMS)
    phase_N1, height_N1 = unit[:, :1], 0.6 + 0.4 * unit[:, 1:2]
    noise_NL = 0.4 * (unit[:, 2:] - 0.5)
    turn_NL = (2 * np.arange(_LENGTH) / _LENGTH + phase_N1) % 1
    shapes = [
        np.sin(2 * np.pi * turn_NL),
        np.where(turn_NL < 0.5, 1.0, -1.0),
        1 - 4 * np.abs(turn_NL - 0.5),
        2 * turn_NL - 1,
    ]
    wave_NL = np.choose(forms_N[:, None], shapes) * height_N1 + noise_NL
    levels_NL = np.clip(np.floor((wave_NL + 1.2) / 2.4 * _NUM_LEVELS), 0, _NUM_LEVELS - 1)
    return {"inputs": levels_NL.astype(np.int64), "targets": forms_N.astype(np.int64)}
