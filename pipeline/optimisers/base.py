"""Base class of optimisers: hyperparameters, state and the update of one step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pipeline.registry import Registry
from pipeline.spec.parameters import Registered, vector

if TYPE_CHECKING:
    from typing import Self

    import torch
    from torch import Tensor

    from pipeline.models.base import Model

    Columns = Mapping[str, Tensor]


class Optimiser(Registered):
    """The update of one step, for all slots at once on (S, P) rows. Torch is imported inside methods only.

    Hyperparameters are fields; those that are numbers are `vector`, so each slot has its own value. Before `update` is
    called, each run's gradient has been clipped to norm `clip` (None: never) and its `lr` scaled by the schedule.

    Contract:
    1. Parameters are declared and checked without torch.
    2. `moments` name (S, P) arrays of its state, which start at 0, and `scalars` (S,) arrays with the value at which
       they start. Names are not those of other arrays of a run's state.
    3. `update` changes the weights and the state in place and nothing else, and is a pure function of its arguments.
    4. Each slot by itself, bit for bit: no operation crosses the slot axis, every hyperparameter is read from `columns`
       (never from `self`, which holds those of one run), and on numbers of a slot only operations are used that
       IEEE 754 rounds exactly (no power, no fused alpha): others round differently in the vector and the scalar part
       of a loop, hence by slot.
    5. A weight that is 0, and whose gradients all are, stays 0: rows are padded with such weights.
    6. At a learning rate of 0 weights do not change.
    7. It descends: with the hyperparameters of `tiny()`, steps on a convex quadratic lower it.
    8. `counterpart`, where torch.optim has one, moves one run to the same weights, to 1e-10 in float64.
    9. The C++ that is written from `update` gives the same numbers, to 1e-9 in float64.
    """

    moments: ClassVar[tuple[str, ...]] = ()
    scalars: ClassVar[Mapping[str, float]] = {}

    lr: float = vector(gt=0)
    clip: float | None = vector(None, gt=0)

    @classmethod
    def tiny(cls) -> Self:
        """A small instance for tests: `lr` 0.01, every other parameter at its default."""
        return cls(lr=0.01)

    def for_model(self, model: Model) -> Optimiser:
        """The optimiser of runs of this model: itself, unless it is whatever the model asks for."""
        return self

    def in_rows(self, spans: Mapping[str, slice]) -> Optimiser:
        """The optimiser for rows in which these columns hold the parameters: itself, unless it tells them apart."""
        return self

    def update(self, weights_SP: Tensor, grad_SP: Tensor, state: Mapping[str, Tensor], columns: Columns) -> None:
        """One step in place. `columns` holds vector hyperparameters as (S, 1), with `lr` after the schedule."""
        raise NotImplementedError

    def counterpart(self, weights: Tensor) -> torch.optim.Optimizer | None:
        """Torch's optimiser of `weights` under these hyperparameters, without clipping; None if torch has none."""
        return None


OPTIMISERS: Registry[Optimiser] = Registry("pipeline.optimisers", Optimiser)
