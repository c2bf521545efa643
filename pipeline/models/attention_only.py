"""The attention-only causal transformer on which the dictionary lookup is studied."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from pipeline.models.base import Model, Output, ParameterSpec
from pipeline.parameters import static
from pipeline.tasks.base import Interface

if TYPE_CHECKING:
    from torch import Tensor


class AttentionOnly(Model):
    """Pre-norm causal attention layers without MLP, biases or affine norms; learned positions, untied unembedding.

    `head_width` (dk) is the width of keys and values of a head; narrower than the model, it is the bottleneck that
    makes some seeds fail. Embeddings and positions start as N(0, 0.25), matrices as N(0, 1 / fan_in).
    """

    name = "attention_only"
    accepts: ClassVar[tuple[str, ...]] = ("tokens",)

    width: int = static(16, ge=1, le=8192)
    head_width: int = static(4, ge=1, le=8192)
    num_heads: int = static(1, ge=1, le=256)
    num_layers: int = static(2, ge=1, le=256)

    def parameter_specs(self, interface: Interface) -> tuple[ParameterSpec, ...]:
        return tuple(self._specs(interface))

    def _specs(self, interface: Interface) -> Iterator[ParameterSpec]:
        inner = self.num_heads * self.head_width
        yield ParameterSpec("embedding", interface.size, self.width, 0.5)
        yield ParameterSpec("position", interface.length, self.width, 0.5)
        for layer in range(self.num_layers):
            for matrix in ("query", "key", "value"):
                yield ParameterSpec(f"layer{layer}.{matrix}", self.width, inner, self.width**-0.5)
            yield ParameterSpec(f"layer{layer}.output", inner, self.width, inner**-0.5)
        yield ParameterSpec("unembedding", self.width, interface.num_outputs, self.width**-0.5)

    def forward(self, parameters: Mapping[str, Tensor], inputs: Tensor, with_attention: bool = False) -> Output:
        x = self._embed(parameters, inputs)
        maps = []
        for layer in range(self.num_layers):
            update, attention = self._attend(parameters, f"layer{layer}.", x)
            x = x + update
            maps.append(attention)
        return Output(self._unembed(parameters, x[:, :, -1]), tuple(maps) if with_attention else ())

    def predict(self, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """The last layer is computed for the last position alone."""
        x = self._embed(parameters, inputs)
        for layer in range(self.num_layers - 1):
            x = x + self._attend(parameters, f"layer{layer}.", x)[0]
        update = self._attend_last(parameters, f"layer{self.num_layers - 1}.", x)
        return self._unembed(parameters, x[:, :, -1] + update)

    def _embed(self, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """(S, B, L, D)."""
        import torch

        from pipeline.products import product

        num_slots, num_examples, length = inputs.shape
        embedding, position = parameters["embedding"], parameters["position"]
        # A product with one-hot rows: its gradient is a product too, with one order of summation on every device.
        one_hot = torch.nn.functional.one_hot(inputs.flatten(1), embedding.shape[1]).to(embedding.dtype)
        tokens = product(one_hot, embedding).view(num_slots, num_examples, length, -1)
        return tokens + position.unsqueeze(1)

    def _unembed(self, parameters: Mapping[str, Tensor], last: Tensor) -> Tensor:
        """(S, B, num_outputs) from the residual stream (S, B, D) at the last position."""
        import torch

        from pipeline.products import product

        return product(torch.nn.functional.layer_norm(last, (self.width,)), parameters["unembedding"])

    def _attend(self, parameters: Mapping[str, Tensor], prefix: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """The layer's addition to x (S, B, L, D), and its attention (S, B, H, L, L)."""
        import torch

        from pipeline.products import product

        num_slots, num_examples, length, width = x.shape
        normed = torch.nn.functional.layer_norm(x, (width,)).view(num_slots, -1, width)

        def project(matrix: str) -> Tensor:
            heads = product(normed, parameters[prefix + matrix])
            shape = (num_slots, num_examples, length, self.num_heads, self.head_width)
            return heads.view(shape).transpose(2, 3)

        query, key, value = project("query"), project("key"), project("value")
        scores = product(query, key.transpose(-1, -2)) * (1 / math.sqrt(self.head_width))
        future = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        attention = scores.masked_fill(future, -math.inf).softmax(-1)
        mixed = product(attention, value).transpose(2, 3).reshape(num_slots, num_examples * length, -1)
        return product(mixed, parameters[prefix + "output"]).view_as(x), attention

    def _attend_last(self, parameters: Mapping[str, Tensor], prefix: str, x: Tensor) -> Tensor:
        """The layer's addition (S, B, D) at the last position, which may look everywhere.

        Keys and values are never formed: q (W_K^T x) = (W_K q) x, and a weighted mean of W_V^T x is W_V^T of the mean.
        """
        import torch

        from pipeline.products import product

        num_slots, num_examples, _, width = x.shape
        normed = torch.nn.functional.layer_norm(x, (width,))
        heads = (self.num_heads, self.head_width)
        query = product(normed[:, :, -1], parameters[prefix + "query"]).view(num_slots, num_examples, *heads)
        # (S, H, D, K): one matrix for each head.
        key, value = (
            parameters[prefix + name].view(num_slots, width, *heads).transpose(1, 2) for name in ("key", "value")
        )
        looked_for_SHBD = product(query.transpose(1, 2), key.transpose(2, 3)) * (1 / math.sqrt(self.head_width))
        scores_SBHL = product(looked_for_SHBD.transpose(1, 2), normed.transpose(2, 3))
        mean_SBHD = product(scores_SBHL.softmax(-1), normed)
        mixed_SHBK = product(mean_SBHD.transpose(1, 2), value)
        mixed = mixed_SHBK.transpose(1, 2).reshape(num_slots, num_examples, -1)
        return product(mixed, parameters[prefix + "output"])
