"""The softmax attention layer of Huang, Cheng and Liang (2024, arXiv 2310.05249)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import model_validator

from pipeline.models.base import Model, Output, ParameterSpec
from pipeline.spec.parameters import static
from pipeline.tasks.base import Task, TaskShape

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor


class MergedSoftmaxAttention(Model):
    """One softmax layer with merged W^KQ = [[Q, 0], [0, 0]] and W^V = [[0, 0], [0, 1]], of which Q alone is trained.

    The prediction is sum_i a_i y_i over the context, a = softmax_i(x_i^T Q x_query); the query is no key, and there is
    no residual. Features v_k are vectors of `width` d: "random" orthonormal ones, drawn with stream init/basis and not
    trained, or "one_hot", the first K unit vectors. Q (d x d) starts at 0. Under gradient descent the basis then does
    not matter; under Adam, which goes entry by entry, it does.

    All tokens of one feature have the same score, the feature's bilinear weight B_kn = v_n^T Q v_k for query v_k, so a
    feature that stands c_n times in the context gets attention in proportion to c_n exp(B_kn). Maps of attention are
    from query features to features, (S, B, 1, K, K).
    """

    name = "merged_softmax_attention"
    accepts: ClassVar[tuple[str, ...]] = ("features",)

    width: int = static(100, ge=2, le=8192)
    basis: Literal["random", "one_hot"] = static("random")

    @model_validator(mode="after")
    def _starts_at_zero(self) -> MergedSoftmaxAttention:
        if self.init_scale != 1.0:
            raise ValueError("init_scale has no effect: Q starts at 0")
        return self

    @classmethod
    def incompatibility(cls, task: Task) -> str | None:
        """As in `Model`, but any number of queries is accepted, since contexts have no positions."""
        kind = task.shape().kind
        return None if kind in cls.accepts else f"takes {' or '.join(cls.accepts)}, but task {task.name} gives {kind}"

    @classmethod
    def tiny(cls, task: Task) -> Self:
        """A small instance for tests."""
        return cls(width=task.shape().length + 2)

    def parameter_specs(self, task_shape: TaskShape) -> tuple[ParameterSpec, ...]:
        """Q, and a random basis. Raises ValueError where there are more features than `width`."""
        if task_shape.length > self.width:
            raise ValueError(f"width ({self.width}) must be at least the number of features ({task_shape.length})")
        bilinear = ParameterSpec("bilinear", self.width, self.width, 0.0)
        if self.basis == "one_hot":
            return (bilinear,)
        return ParameterSpec("basis", task_shape.length, self.width, 1.0, "orthonormal", trainable=False), bilinear

    def forward(
        self,
        parameters: Mapping[str, Tensor],
        inputs: Tensor,
        with_attention: bool = False,
        num_query_positions: int = 1,
        attention_bias: Sequence[Tensor] | None = None,
    ) -> Output:
        """Predictions, and attention from query features to features if requested."""
        from pipeline.numerics.matmul import matmul

        weights_SKK, counts_SBK = self.feature_weights(parameters, inputs.shape[2]), inputs[..., 0]
        asks_about_each = inputs.shape[-1] == 1
        maps: tuple[Tensor, ...] = ()
        if asks_about_each or with_attention:
            scores = weights_SKK.unsqueeze(1)
            biased = scores if attention_bias is None else scores + attention_bias[0][:, :, 0]
            attention_SBKK = _attention(biased, counts_SBK.unsqueeze(2))
            maps = (attention_SBKK.unsqueeze(2),) if with_attention else ()
        if asks_about_each:
            return Output(attention_SBKK.flatten(1, 2), maps)
        scores_SBK = matmul(inputs[..., 1], weights_SKK)
        if attention_bias is not None:
            is_query_SBK1 = inputs[..., 1].unsqueeze(-1) > 0
            scores_SBK = scores_SBK + attention_bias[0][:, :, 0].where(is_query_SBK1, 0.0).sum(2)
        attention_SBK = _attention(scores_SBK, counts_SBK)
        return Output((attention_SBK * inputs[..., 2]).sum(-1, keepdim=True), maps)

    def feature_weights(self, parameters: Mapping[str, Tensor], num_features: int) -> Tensor:
        """B (S, K, K): B_kn = v_n^T Q v_k, query first."""
        from pipeline.numerics.matmul import matmul

        transposed = parameters["bilinear"].transpose(1, 2)
        if self.basis == "one_hot":
            return transposed[:, :num_features, :num_features]
        basis_SKD = parameters["basis"]
        return matmul(matmul(basis_SKD, transposed), basis_SKD.transpose(1, 2))

    def probes(self, parameters: Mapping[str, Tensor], inputs: Tensor) -> dict[str, Tensor]:
        """Of each feature k, named k1 to kK as in the paper, on the contexts of `inputs`.

        feature_attention: Attn_k, the attention of query v_k on the tokens that equal it (0 in a context without).
        feature_loss: L_k, its error given the query v_k, exactly averaged over w.
        own_weight: A_k = B_kk. first_weight: B_k1, for k > 1. cross_weight: the mean of B_kn over n != k.
        """
        import torch

        weights_SKK = self.feature_weights(parameters, inputs.shape[2])
        attention_SBKK = _attention(weights_SKK.unsqueeze(1), inputs[..., 0].unsqueeze(2))
        size = weights_SKK.shape[-1]
        own_SK = weights_SKK.diagonal(dim1=1, dim2=2)
        error_SBK = (attention_SBKK - torch.eye(size, dtype=inputs.dtype, device=inputs.device)).square().sum(-1)
        found = {
            "feature_attention": attention_SBKK.diagonal(dim1=2, dim2=3).mean(1),
            "feature_loss": 0.5 * error_SBK.mean(1),
            "own_weight": own_SK,
            "cross_weight": (weights_SKK.sum(-1) - own_SK) / (size - 1),
            "first_weight": weights_SKK[:, :, 0],
        }
        named = {f"{name}.k{k + 1}": value_SK[:, k] for name, value_SK in found.items() for k in range(size)}
        del named["first_weight.k1"]
        return named


def _attention(scores: Tensor, counts: Tensor) -> Tensor:
    """Attention (..., K) on all tokens of each feature, where one token of it has `scores` and there are `counts`.

    counts exp(scores), normalised. A softmax over the features that are there, times counts, since log(counts) may
    round differently in the vector part of a loop and its remainder, hence by slot.
    """
    weighted = scores.masked_fill(counts == 0, -math.inf).softmax(-1) * counts
    attention: Tensor = weighted / weighted.sum(-1, keepdim=True)
    return attention
