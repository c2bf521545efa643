"""Maximum and minimum over heads of each per-head metric's last value."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from analysis.statistics.base import Statistic, column
from analysis.statistics.last_value import last_finite
from pipeline.arrays import Floats
from pipeline.store.history import Window

HEAD_METRIC = re.compile(r"(?P<base>.+)\.l(?P<layer>\d+)h(?P<head>\d+)")


class StrongestHead(Statistic):
    """Largest and smallest last value over the heads of each layer, for metrics measured head by head.

    Heads of a layer are exchangeable at init: which one learns differs between seeds, so a column per head mixes them
    up and an extreme over heads does not. NaN where the run recorded no head in the window; without such metrics there
    are no columns.
    """

    name: ClassVar[str] = "strongest_head"

    def __call__(self, window: Window) -> dict[str, Floats]:
        """`strongest_head(METRIC.lN max)` and `... min)` -> (R,) for every per-head metric and layer."""
        columns: dict[str, Floats] = {}
        for layer, metrics in heads_by_layer(window.curves).items():
            last_HR = np.stack([last_finite(window.values[metric]) for metric in metrics])
            # fmax and fmin pass over NaN without the warning that nanmax gives for a run with no value at all.
            columns[column(self.name, f"{layer} max")] = np.fmax.reduce(last_HR, axis=0)
            columns[column(self.name, f"{layer} min")] = np.fmin.reduce(last_HR, axis=0)
        return columns


def heads_by_layer(metrics: Iterable[str]) -> dict[str, list[str]]:
    """`induction_score.l1` -> [`induction_score.l1h0`, ...], for the metrics that are measured head by head."""
    found: dict[str, list[str]] = {}
    for metric in sorted(metrics):
        match = HEAD_METRIC.fullmatch(metric)
        if match is not None:
            found.setdefault(f"{match['base']}.l{match['layer']}", []).append(metric)
    return found
