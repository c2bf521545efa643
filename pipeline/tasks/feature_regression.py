"""In-context linear regression on orthonormal features: Huang, Cheng and Liang (2024, arXiv 2310.05249), section 2."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from pipeline.spec.parameters import static
from pipeline.tasks.base import Batch, Task, TaskShape

if TYPE_CHECKING:
    from typing import Self

    import torch
    from torch import Tensor

    from pipeline.numerics.streams import Draws
    from pipeline.tasks.base import Split, Streams, Vectors

_CONTEXT, _QUERY, _VALUES = range(3)


class FeatureRegression(Task):
    """N pairs (x_i, <w, x_i>) and a query x, each x one of K orthonormal features v_1..v_K; target: <w, x>.

    The x_i and the query are drawn i.i.d., v_k with probability p_k: 1/K each, or `dominant_probability` for v_1 and
    equal shares of the rest for the others. w ~ N(0, I), so that the values <w, v_k> are independent N(0, 1), whatever
    the features are; the vectors are defined by the model. Loss: half the squared error.

    An example is given by what the loss depends on: of each feature, how often it occurs in the context, whether it is
    the query, and its value.

    `prompts`: "fresh" at every step; "fixed", a training set of `batch_size` prompts that is the same at every step,
    as in the paper's experiments (evaluated on prompts that are the same at every step, too, but not these); or
    "mean_field", the limit N -> infinity, in which the context holds p_k of each feature and nothing is random.
    `objective`: "sampled", the loss at the query and w of each prompt; or "exact", its mean over both given the
    context: sum_k p_k ((1 - a_k)^2 + sum_{n != k} a_n^2) / 2, where a is the attention of query v_k. An example is then
    a context, with every feature as a query, and a prediction is a.
    """

    name = "feature_regression"

    num_features: int = static(10, ge=2, le=4096)
    num_pairs: int = static(100, ge=1, le=65536)
    dominant_probability: float | None = static(None, gt=0, lt=1)
    prompts: Literal["fresh", "fixed", "mean_field"] = static("fresh")
    objective: Literal["sampled", "exact"] = static("sampled")

    @model_validator(mode="after")
    def _mean_field_is_exact(self) -> FeatureRegression:
        if self.prompts == "mean_field" and self.objective != "exact":
            raise ValueError("prompts: mean_field needs objective: exact")
        return self

    def probabilities(self) -> tuple[float, ...]:
        """p_1..p_K."""
        first = self._first_probability()
        return (first, *[(1 - first) / (self.num_features - 1)] * (self.num_features - 1))

    def _first_probability(self) -> float:
        return 1 / self.num_features if self.dominant_probability is None else self.dominant_probability

    @classmethod
    def tiny(cls) -> Self:
        """A small instance for tests."""
        return cls(num_features=3, num_pairs=7)

    def shape(self) -> TaskShape:
        """Features with their counts; target: the query's value, or under `exact` every feature as the query."""
        size = self.num_features
        if self.objective == "exact":
            return TaskShape("features", size, 1, size, num_query_positions=size)
        return TaskShape("features", size, 3, 1)

    def floor_loss(self) -> float:
        """Expected loss of the best predictor: sum_k p_k (1 - p_k)^N / 2.

        It is exact for a query whose feature occurs in the context, and predicts 0, at a loss of E[<w, v_k>^2] / 2, for
        any other. A softmax layer cannot predict 0: its loss there is (1 + sum_n a_n^2) / 2, between 1/2 and 1, so its
        own floor is at most twice this one. Choose N so that both are negligible.
        """
        return 0.5 * sum(p * self._absence(p) for p in self.probabilities())

    def chance_loss(self) -> float:
        """Expected loss of the best predictor that ignores the query, sum_n p_n <w, v_n> over the context.

        Of the target's variance 1 it explains the p_n^2 of every feature n that the context holds.
        """
        return 0.5 * (1 - sum(p**2 * (1 - self._absence(p)) for p in self.probabilities()))

    def _absence(self, probability: float) -> float:
        """The probability that a feature does not occur in the context."""
        return 0.0 if self.prompts == "mean_field" else (1 - probability) ** self.num_pairs

    def sample(self, streams: Streams, vectors: Vectors, dtype: str, split: Split) -> Batch:
        """The contexts of the batch, and under `sampled` a query and values of features."""
        import torch

        draws, real = streams["data"], getattr(torch, dtype)
        if self.prompts == "fixed":
            draws = replace(draws, steps_S=torch.zeros_like(draws.steps_S))
        counts_SBK = self._counts(draws, real)
        if self.objective == "exact":
            features = torch.arange(self.num_features, device=counts_SBK.device)
            return Batch(counts_SBK.unsqueeze(-1), features.expand(counts_SBK.shape).flatten(1))
        query_SB = self._features(draws, 1, _QUERY)
        values_SBK = draws.normal(self.num_features, _VALUES, real)
        is_query_SBK = torch.nn.functional.one_hot(query_SB.squeeze(-1), self.num_features).to(real)
        inputs = torch.stack([counts_SBK, is_query_SBK, values_SBK], dim=-1)
        return Batch(inputs, values_SBK.gather(2, query_SB).squeeze(-1))

    def _counts(self, draws: Draws, real: torch.dtype) -> Tensor:
        """(S, B, K): how often each feature occurs in the context."""
        import torch

        from pipeline.numerics.constants import constant

        num_slots, num_rows = len(draws.steps_S), draws.num_rows
        if self.prompts == "mean_field":
            shares = constant(self.probabilities(), draws.steps_S, real)
            return (shares * self.num_pairs).expand(num_slots, num_rows, -1).contiguous()
        features_SBN = self._features(draws, self.num_pairs, _CONTEXT)
        counts_SBK = features_SBN.new_zeros(num_slots, num_rows, self.num_features)
        return counts_SBK.scatter_add_(2, features_SBN, torch.ones_like(features_SBN)).to(real)

    def _features(self, draws: Draws, num_columns: int, substream: int) -> Tensor:
        """(S, B, num_columns) features, by inversion of the distribution function, to one part in 2**23."""
        import torch

        first, others = self._first_probability(), self.num_features - 1
        unit = draws.uniform(num_columns, substream, torch.float64)
        is_other = unit >= first
        features = unit.sub_(first).mul_(others / (1 - first)).long()
        return features.clamp_(max=others - 1).add_(1).mul_(is_other)

    def losses(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """The loss of each question: half the squared error, or under `exact` its mean over values given the query."""
        import torch

        from pipeline.numerics.constants import constant

        if self.objective == "sampled":
            return 0.5 * (predictions.squeeze(-1) - targets).square()
        right = torch.nn.functional.one_hot(targets, self.num_features).to(predictions.dtype)
        # Every feature is queried equally often, and weighted by p_k.
        weights = constant(self.probabilities(), predictions) * self.num_features
        return weights[targets] * (0.5 * (predictions - right).square().sum(-1))

    def reference_losses(self, batch: Batch) -> Tensor:
        """Losses of the best predictor, that of `floor_loss`."""
        counts_SBK = batch.inputs[..., 0]
        if self.objective == "exact":
            weights = counts_SBK.new_tensor(self.probabilities()) * self.num_features
            return (0.5 * weights * (counts_SBK == 0)).flatten(1)
        is_absent_SB = (counts_SBK * batch.inputs[..., 1]).sum(-1) == 0
        return 0.5 * batch.targets.square() * is_absent_SB
