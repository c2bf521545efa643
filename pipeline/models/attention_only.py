"""The attention-only causal transformer on which the dictionary lookup is studied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pipeline.models._decoder import Decoder
from pipeline.models.base import Model, Output, ParameterSpec
from pipeline.spec.parameters import static
from pipeline.tasks.base import Task, TaskShape

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor


class AttentionOnly(Model):
    """Pre-norm causal attention layers without MLP, biases or affine norms; learned positions, untied unembedding.

    `head_width` (dk) is the width of keys and values of a head; narrower than the model, it is the bottleneck that
    makes some seeds fail. Embeddings and positions start as N(0, 0.25), matrices as N(0, 1 / fan_in).
    """

    name = "attention_only"
    accepts: ClassVar[tuple[str, ...]] = ("tokens",)
    predicts_all_positions: ClassVar[bool] = True

    width: int = static(16, ge=1, le=8192)
    head_width: int = static(4, ge=1, le=8192)
    num_heads: int = static(1, ge=1, le=256)
    num_layers: int = static(2, ge=1, le=256)

    @classmethod
    def tiny(cls, task: Task) -> Self:
        """A small instance for tests."""
        return cls(width=8, head_width=4)

    def decoder(self) -> Decoder:
        """The decoder of these sizes, which holds the arithmetic."""
        return Decoder(self.width, self.num_heads, self.head_width, self.num_layers)

    def parameter_specs(self, task_shape: TaskShape) -> tuple[ParameterSpec, ...]:
        """Those of the decoder."""
        return tuple(self.decoder().specs(task_shape))

    def forward(
        self,
        parameters: Mapping[str, Tensor],
        inputs: Tensor,
        with_attention: bool = False,
        num_query_positions: int = 1,
        attention_bias: Sequence[Tensor] | None = None,
    ) -> Output:
        """Logits at the last positions, and attention maps if requested."""
        return self.decoder().forward(parameters, inputs, with_attention, num_query_positions, attention_bias)

    def predict(self, parameters: Mapping[str, Tensor], inputs: Tensor, num_query_positions: int = 1) -> Tensor:
        """Logits of `forward`, with the last layer computed at the asked positions alone."""
        return self.decoder().predict(parameters, inputs, num_query_positions)
