"""A task that raises an error at one step of the runs whose `fails_at` it is, and never ends at `hangs_at`."""

from __future__ import annotations

from tests.support import drop_in

SOURCE = '''
import time
from typing import ClassVar

from pipeline.spec.parameters import vector
from pipeline.tasks.linear_regression import LinearRegression


class Raising(LinearRegression):
    """Linear regression that raises at a step."""

    name = "raising"
    is_mended: ClassVar[bool] = False

    fails_at: float = vector(-1.0)
    hangs_at: float = vector(-1.0)

    def sample(self, streams, vectors, dtype, split):
        """The batch, unless a run in the block is at its step."""
        own = {name: value for name, value in vectors.items() if name not in ("fails_at", "hangs_at")}
        if self.is_mended:
            return super().sample(streams, own, dtype, split)
        steps_S = streams["data"].steps_S
        if "fails_at" in vectors and (vectors["fails_at"] == steps_S[: len(vectors["fails_at"])]).any():
            raise ValueError("no batch")
        if "hangs_at" in vectors and (vectors["hangs_at"] == steps_S[: len(vectors["hangs_at"])]).any():
            time.sleep(3600)
        return super().sample(streams, own, dtype, split)
'''


def raising(monkeypatch, folder):
    """Register the task until the test ends."""
    return drop_in(monkeypatch, folder, "task", "raising", SOURCE)
