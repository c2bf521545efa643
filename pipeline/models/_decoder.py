"""Causal decoder over tokens: embeddings, pre-norm layers of attention and an optional MLP, unembedding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.models._attention import attend, attend_last, attention_specs, last
from pipeline.models.base import Output, ParameterSpec
from pipeline.tasks.base import TaskShape

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Decoder:
    """Layers x + attention(norm(x)), then x + MLP(norm(x)); a final norm before the unembedding.

    No biases, no affine norms; learned positions. Embeddings and positions start as N(0, 0.25), matrices as
    N(0, 1 / fan_in). `mlp_width` 0 leaves out the MLP.
    """

    width: int
    num_heads: int
    head_width: int
    num_layers: int
    mlp_width: int = 0

    def specs(self, task_shape: TaskShape) -> Iterator[ParameterSpec]:
        """Every parameter, layer by layer. Yields in the order in which they are stored."""
        yield ParameterSpec("embedding", task_shape.size, self.width, 0.5)
        yield ParameterSpec("position", task_shape.length, self.width, 0.5)
        for layer in range(self.num_layers):
            yield from attention_specs(f"layer{layer}.", self.width, self.num_heads, self.head_width)
            if self.mlp_width:
                yield ParameterSpec(f"layer{layer}.up", self.width, self.mlp_width, self.width**-0.5)
                yield ParameterSpec(f"layer{layer}.down", self.mlp_width, self.width, self.mlp_width**-0.5)
        yield ParameterSpec("unembedding", self.width, task_shape.num_outputs, self.width**-0.5)

    def forward(
        self,
        parameters: Mapping[str, Tensor],
        inputs: Tensor,
        with_attention: bool,
        num_query_positions: int,
        attention_bias: Sequence[Tensor] | None = None,
    ) -> Output:
        """As `Model.forward`: predictions at the last positions, and attention maps if requested."""
        x = self._embed(parameters, inputs)
        maps = []
        for layer in range(self.num_layers):
            bias = None if attention_bias is None else attention_bias[layer]
            x, attention = self._layer(parameters, layer, x, x.shape[2], bias)
            maps.append(attention)
        return Output(self._unembed(parameters, last(x, num_query_positions)), tuple(maps) if with_attention else ())

    def predict(self, parameters: Mapping[str, Tensor], inputs: Tensor, num_query_positions: int) -> Tensor:
        """The last layer is computed for the last `num_query_positions` positions alone."""
        x = self._embed(parameters, inputs)
        for layer in range(self.num_layers - 1):
            x, _ = self._layer(parameters, layer, x, x.shape[2])
        final = self.num_layers - 1
        if num_query_positions == 1:
            x = last(x, 1) + attend_last(parameters, f"layer{final}.", x, self.num_heads)
            x = self._transform(parameters, final, x)
        else:
            x, _ = self._layer(parameters, final, x, num_query_positions)
        return self._unembed(parameters, x)

    def _embed(self, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """(S, B, L, D)."""
        import torch

        from pipeline.numerics.matmul import matmul

        num_slots, num_examples, length = inputs.shape
        embedding, position = parameters["embedding"], parameters["position"]
        # A product with one-hot rows: its gradient is a product too, with one order of summation on every device.
        one_hot = torch.nn.functional.one_hot(inputs.flatten(1), embedding.shape[1]).to(embedding.dtype)
        tokens = matmul(one_hot, embedding).view(num_slots, num_examples, length, -1)
        return tokens + position.unsqueeze(1)

    def _layer(
        self, parameters: Mapping[str, Tensor], layer: int, x: Tensor, num_queries: int, bias: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The residual stream (S, B, Q, D) after a layer at the last Q positions, and the layer's attention."""
        update, attention = attend(parameters, f"layer{layer}.", x, self.num_heads, num_queries, bias)
        return self._transform(parameters, layer, last(x, num_queries) + update), attention

    def _transform(self, parameters: Mapping[str, Tensor], layer: int, x: Tensor) -> Tensor:
        """x (S, B, Q, D) after the layer's MLP."""
        import torch

        from pipeline.numerics.activations import gelu
        from pipeline.numerics.matmul import matmul

        if not self.mlp_width:
            return x
        normed = torch.nn.functional.layer_norm(x, (self.width,)).view(len(x), -1, self.width)
        hidden = gelu(matmul(normed, parameters[f"layer{layer}.up"]))
        return x + matmul(hidden, parameters[f"layer{layer}.down"]).view_as(x)

    def _unembed(self, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """(S, B * Q, num_outputs) from the residual stream (S, B, Q, D)."""
        import torch

        from pipeline.numerics.matmul import matmul

        normed = torch.nn.functional.layer_norm(x.flatten(1, 2), (self.width,))
        return matmul(normed, parameters["unembedding"])
