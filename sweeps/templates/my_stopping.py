"""A stopping rule of my own.

What it must do is listed in the docstring of `pipeline.stopping.base.StoppingRule`.
"""

from __future__ import annotations

import numpy as np

from pipeline.spec.parameters import static
from pipeline.stopping.base import RunPrefix, StoppingRule


class MyStopping(StoppingRule):
    """Ends a run whose label loss has had no new minimum in the last `evaluations` evaluations."""

    name = "my_stopping"

    # Parameters, for sweep files.
    evaluations: int = static(10, ge=1)

    def should_stop(self, prefix: RunPrefix) -> bool:
        """Asked at every evaluation of a run, given what it has recorded so far, NaN where it recorded nothing."""
        losses_T = prefix.values["label_loss"]
        losses_E = losses_T[np.isfinite(losses_T)]
        return len(losses_E) > self.evaluations and len(losses_E) - 1 - int(np.argmin(losses_E)) >= self.evaluations
