"""Linear self-attention on embedded tokens: von Oswald et al. (2023, arXiv 2212.07677), section 4, nonlinear tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import model_validator

from pipeline.models.base import Model, Output, ParameterSpec
from pipeline.spec.parameters import static
from pipeline.tasks.base import Task, TaskShape

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

_MATRICES = ("query", "key", "value", "projection")


class EmbeddedSelfAttention(Model):
    """Tokens are embedded, e_j = h_j + MLP(h_j) with h_j = W_emb t_j, then attended to linearly as in eq. 2.

    Sizes are the public code's: the embedding has `width` entries and no bias, the MLP one hidden layer of `mlp_width`
    (gelu in its tanh form) and biases. Keys and values exclude the query token, which stands last; the prediction is
    minus the last entry of the last token. Init: truncated normal with variance `init_variance` / fan-in, biases 0.

    `attention`: "trained", a layer of `width` x `width` matrices; or "gradient_step", in which the layer is not trained
    but the construction of Proposition 1 with step size `step_size`: one gradient step on the last entry, linear in the
    others, so that only the embedding is meta-trained. The code's 0.1 is the default; the embedding can rescale it.
    """

    name = "embedded_self_attention"
    accepts: ClassVar[tuple[str, ...]] = ("vectors",)
    predicts_values_only: ClassVar[bool] = True
    has_softmax: ClassVar[bool] = False

    width: int = static(40, ge=2, le=8192)
    mlp_width: int = static(160, ge=1, le=32768)
    attention: Literal["trained", "gradient_step"] = static("trained")
    step_size: float = static(0.1, gt=0)
    init_variance: float = static(0.002, gt=0)

    @model_validator(mode="after")
    def _step_size_is_that_of_a_step(self) -> EmbeddedSelfAttention:
        if self.attention == "trained" and self.step_size != 0.1:
            raise ValueError("step_size has no effect: attention is trained")
        return self

    @classmethod
    def tiny(cls, task: Task) -> Self:
        """A small instance for tests."""
        return cls(width=6, mlp_width=7)

    def parameter_specs(self, task_shape: TaskShape) -> tuple[ParameterSpec, ...]:
        """Embedding, MLP and, where it is trained, the attention layer."""
        shapes = {
            "embedding": (self.width, task_shape.size),
            "up": (self.mlp_width, self.width),
            "down": (self.width, self.mlp_width),
        }
        if self.attention == "trained":
            shapes |= dict.fromkeys(_MATRICES, (self.width, self.width))
        matrices = [
            ParameterSpec(name, rows, columns, (self.init_variance / columns) ** 0.5, "truncated_normal")
            for name, (rows, columns) in shapes.items()
        ]
        biases = [
            ParameterSpec(name, 1, size, 0.0) for name, size in (("up_bias", self.mlp_width), ("down_bias", self.width))
        ]
        return (*matrices, *biases)

    def forward(
        self,
        parameters: Mapping[str, Tensor],
        inputs: Tensor,
        with_attention: bool = False,
        num_query_positions: int = 1,
        attention_bias: Sequence[Tensor] | None = None,
    ) -> Output:
        """The prediction; this model has no attention maps."""
        assert attention_bias is None, "this model has no softmax attention to bias"
        return Output(self.predict(parameters, inputs))

    def predict(self, parameters: Mapping[str, Tensor], inputs: Tensor, num_query_positions: int = 1) -> Tensor:
        """e_q[D] + sum_j (p W_V e_j) (e_j W_K^T W_Q e_q), p the last row of P, with a minus."""
        from pipeline.numerics.matmul import matmul

        tokens_SBLD = self._embedded(parameters, inputs)
        num_slots, num_examples, _, width = tokens_SBLD.shape
        context, last = tokens_SBLD[:, :, :-1], tokens_SBLD[:, :, -1]
        if self.attention == "gradient_step":
            looked_for_SBD = _without_last(last)
            values_SBN = -context[..., -1] * (self.step_size / context.shape[2])
        else:
            query, key, value, projection = (parameters[name] for name in _MATRICES)
            looked_for_SBD = matmul(last, matmul(query.transpose(1, 2), key))
            readout_SD1 = matmul(projection[:, -1:], value).transpose(1, 2)
            values_SBN = matmul(context.reshape(num_slots, -1, width), readout_SD1).view(num_slots, num_examples, -1)
        weights_SBN = matmul(context, looked_for_SBD.unsqueeze(-1)).squeeze(-1)
        return -(last[..., -1:] + (weights_SBN * values_SBN).sum(-1, keepdim=True))

    def _embedded(self, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """(S, B, L, width)."""
        from pipeline.numerics.activations import gelu
        from pipeline.numerics.matmul import matmul

        num_slots, num_examples, length, size = inputs.shape
        flat = inputs.reshape(num_slots, -1, size)
        embedded = matmul(flat, parameters["embedding"].transpose(1, 2))
        hidden = gelu(matmul(embedded, parameters["up"].transpose(1, 2)) + parameters["up_bias"])
        moved = matmul(hidden, parameters["down"].transpose(1, 2)) + parameters["down_bias"]
        return (embedded + moved).view(num_slots, num_examples, length, -1)


def _without_last(tokens: Tensor) -> Tensor:
    """Tokens with the last entry set to zero."""
    import torch

    return torch.cat([tokens[..., :-1], torch.zeros_like(tokens[..., -1:])], dim=-1)
