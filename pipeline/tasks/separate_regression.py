"""In-context linear regression with inputs and targets in separate tokens: von Oswald et al. (2023), section 5."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pipeline.spec.parameters import static
from pipeline.tasks.base import Batch, Task, TaskShape
from pipeline.tasks.linear_regression import LinearRegression

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

    from pipeline.tasks.base import Split, Streams, Vectors


class SeparateRegression(Task):
    """Tokens x_1, (0, .., 0, y_1), x_2, .. and x_q last, all of `dim` entries: linear_regression in another layout.

    Under the same seeds the contexts are those of linear_regression. The reachable loss depends on the model: the floor
    is that of one gradient step, which takes two layers, of which the first copies x_j and y_j into one token.
    """

    name = "separate_regression"

    dim: int = static(10, ge=1, le=1024)
    num_pairs: int = static(10, ge=1, le=4096)
    input_range: float = static(0.5, gt=0)

    streams: ClassVar[tuple[str, ...]] = ("data",)

    def paired(self) -> LinearRegression:
        """The task with the same contexts and one token per pair."""
        return LinearRegression(dim=self.dim, num_pairs=self.num_pairs, input_range=self.input_range)

    @classmethod
    def tiny(cls) -> Self:
        """A small instance for tests."""
        return cls(dim=3, num_pairs=4)

    def shape(self) -> TaskShape:
        """Inputs and targets in turn, then the query; target: its target."""
        return TaskShape("vectors", 2 * self.num_pairs + 1, self.dim, 1)

    def floor_loss(self) -> float:
        """That of one gradient step on the same contexts."""
        return self.paired().floor_loss()

    def chance_loss(self) -> float:
        """Expected loss of predicting zero."""
        return self.paired().chance_loss()

    def sample(self, streams: Streams, vectors: Vectors, dtype: str, split: Split) -> Batch:
        """The examples of `paired`, laid out as separate tokens."""
        pairs_SBLD, targets = self.paired().sample(streams, {}, dtype, split)
        tokens_SBND = pairs_SBLD.new_zeros(*pairs_SBLD.shape[:2], 2 * self.num_pairs + 1, self.dim)
        tokens_SBND[:, :, 0::2] = pairs_SBLD[..., :-1]
        tokens_SBND[:, :, 1::2, -1] = pairs_SBLD[:, :, :-1, -1]
        return Batch(tokens_SBND, targets)

    def losses(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Half the squared error of each question, (S, B)."""
        return self.paired().losses(predictions, targets)

    def reference_losses(self, batch: Batch) -> Tensor:
        """Losses of one gradient step at the best step size."""
        import torch

        x_SBLD, y_SBN = batch.inputs[:, :, 0::2], batch.inputs[:, :, 1::2, -1:]
        pairs = torch.cat([x_SBLD, torch.nn.functional.pad(y_SBN, (0, 0, 0, 1))], dim=-1)
        return self.paired().reference_losses(Batch(pairs, batch.targets))
