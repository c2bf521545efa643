"""The linear self-attention layers of von Oswald et al. (2023, arXiv 2212.07677), and their variants."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import model_validator

from pipeline.models.base import Model, Output, ParameterSpec
from pipeline.spec.parameters import static
from pipeline.tasks.base import TaskShape

if TYPE_CHECKING:
    from torch import Tensor

_MATRICES = ("query", "key", "value", "projection")


class LinearSelfAttention(Model):
    """e_j <- e_j + sum_h P_h V_h K_h^T W_Q,h e_j, without biases, norms or scaling (their eq. 2); every head is square.

    Keys and values exclude the query token, which stands last. The prediction is minus the last entry of the last
    token (their section 3). Init as in the public code, whose figures are the paper's: truncated normal with variance
    0.002 / fan-in (0.0135 for D = 11), where the text says 0.002. Their code divides 0.002 by the number of layers and
    widens the normal so that it has this variance after truncation: `init_variance` 0.002585 is its 0.002. Tied layers
    share one set of matrices.

    `softmax`: scores of the first layer, or of every one, are divided by sqrt(D) and go through a softmax over keys.
    `position_width`: the number of sinusoids of a token's position that are appended to it (Vaswani et al. 2017,
    section 3.5). `mlp_width`: after each attention e_j <- e_j + W_down gelu(W_up e_j), gelu in its tanh form.
    `token_limit`: after each attention and each MLP, entries of tokens are cut to +-this, 10 in the code for more than
    three layers.
    """

    name = "linear_self_attention"
    accepts: ClassVar[tuple[str, ...]] = ("vectors",)
    predicts_values_only: ClassVar[bool] = True
    has_softmax: ClassVar[bool] = False

    num_layers: int = static(1, ge=1, le=256)
    is_tied: bool = static(False)
    num_heads: int = static(1, ge=1, le=256)
    softmax: Literal["none", "first", "every"] = static("none")
    position_width: int = static(0, ge=0, le=1024, multiple_of=2)
    mlp_width: int = static(0, ge=0, le=32768)
    token_limit: float | None = static(None, gt=0)
    init_variance: float = static(0.002, gt=0)

    @model_validator(mode="after")
    def _first_layer_is_one_of_several(self) -> LinearSelfAttention:
        if self.softmax == "first" and (self.is_tied or self.num_layers == 1):
            raise ValueError("softmax: first needs two layers or more, not tied; with one layer it is every")
        return self

    def parameter_specs(self, task_shape: TaskShape) -> tuple[ParameterSpec, ...]:
        """Four matrices for each layer that is not tied, and two of its MLP."""
        return tuple(self._specs(task_shape.size + self.position_width))

    def _specs(self, size: int) -> Iterator[ParameterSpec]:
        inner = self.num_heads * size
        shapes = dict.fromkeys(_MATRICES[:3], (inner, size)) | {"projection": (size, inner)}
        if self.mlp_width:
            shapes |= {"up": (self.mlp_width, size), "down": (size, self.mlp_width)}
        for layer in range(1 if self.is_tied else self.num_layers):
            for matrix, (rows, columns) in shapes.items():
                std = (self.init_variance / columns) ** 0.5
                yield ParameterSpec(f"layer{layer}.{matrix}", rows, columns, std, "truncated_normal")

    def forward(
        self,
        parameters: Mapping[str, Tensor],
        inputs: Tensor,
        with_attention: bool = False,
        num_query_positions: int = 1,
        attention_bias: Sequence[Tensor] | None = None,
    ) -> Output:
        """The prediction, and each layer's attention weights (S, B, H, L, L) if requested."""
        assert attention_bias is None, "this model has no softmax attention to bias"
        tokens, maps = self._positioned(inputs), []
        for layer in range(self.num_layers):
            tokens, weights_SBHLN = self._layer(parameters, layer, tokens)
            maps.append(weights_SBHLN)
        return Output(-tokens[:, :, -1, -1:], tuple(map(_square, maps)) if with_attention else ())

    def predict(self, parameters: Mapping[str, Tensor], inputs: Tensor, num_query_positions: int = 1) -> Tensor:
        """The prediction; the last layer is computed for the query only, and without an MLP for its last entry only."""
        tokens = self._positioned(inputs)
        for layer in range(self.num_layers - 1):
            tokens, _ = self._layer(parameters, layer, tokens)
        if self.mlp_width:
            return -self._transformed(parameters, self.num_layers - 1, self._query(parameters, tokens))[..., -1:]
        return -self._answer(parameters, self.num_layers - 1, tokens)

    def _positioned(self, inputs: Tensor) -> Tensor:
        import torch

        if not self.position_width:
            return inputs
        positions_LW = _sinusoids(inputs.shape[2], self.position_width, inputs)
        return torch.cat([inputs, positions_LW.expand(*inputs.shape[:3], -1)], dim=-1)

    def _layer(self, parameters: Mapping[str, Tensor], layer: int, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Tokens (S, B, L, D) after a layer, and each head's weights (S, B, L, N).

        Scores are e_j (W_Q^T W_K) e_i and what is added (P W_V) sum_i a_ij e_i: two products of weights, once a step.
        """
        from pipeline.numerics.matmul import matmul

        size = tokens.shape[-1]
        context, after, maps = tokens[:, :, :-1], tokens, []
        for query_SDD, key_SDD, value_SDD, projection_SDD in self._heads(parameters, layer, size):
            looked_for = _moved(matmul(query_SDD.transpose(1, 2), key_SDD).transpose(1, 2), tokens)
            weights_SBLN = self._weights(matmul(looked_for, context.transpose(-1, -2)), layer, size)
            after = after + _moved(matmul(projection_SDD, value_SDD), matmul(weights_SBLN, context))
            maps.append(weights_SBLN)
        return self._transformed(parameters, layer, self._limited(after)), maps

    def _transformed(self, parameters: Mapping[str, Tensor], layer: int, tokens: Tensor) -> Tensor:
        """Tokens (S, B, ..., D) after a layer's MLP, if it has one."""
        from pipeline.numerics.activations import gelu

        if not self.mlp_width:
            return tokens
        up, down = (parameters[self._prefix(layer) + name] for name in ("up", "down"))
        return self._limited(tokens + _moved(down, gelu(_moved(up, tokens))))

    def _query(self, parameters: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
        """The last token (S, B, D) after the attention of the last layer."""
        from pipeline.numerics.matmul import matmul

        layer, size = self.num_layers - 1, tokens.shape[-1]
        context, last = tokens[:, :, :-1], tokens[:, :, -1]
        after = last
        for query, key, value, projection in self._heads(parameters, layer, size):
            looked_for_SBD = matmul(last, matmul(query.transpose(1, 2), key))
            scores_SBN = matmul(context, looked_for_SBD.unsqueeze(-1)).squeeze(-1)
            weights_SBN = self._weights(scores_SBN, layer, size)
            mixed_SBD = matmul(weights_SBN.unsqueeze(2), context).squeeze(2)
            after = after + _moved(matmul(projection, value), mixed_SBD)
        return self._limited(after)

    def _answer(self, parameters: Mapping[str, Tensor], layer: int, tokens: Tensor) -> Tensor:
        """The last token's last entry (S, B, 1) after a layer, without forming a D x D product per example.

        It is e_q[D] + sum_j (p W_V e_j) a_j, with a_j = e_j W_K^T W_Q e_q, or its softmax over j.
        """
        import torch

        from pipeline.numerics.matmul import matmul

        size = tokens.shape[-1]
        context, last = tokens[:, :, :-1], tokens[:, :, -1]
        answer = last[..., -1:]
        for query, key, value, projection in self._heads(parameters, layer, size):
            looked_for_SBD = matmul(last, matmul(query.transpose(1, 2), key))
            readout_S1D = matmul(projection[:, -1:], value)
            both_SBD2 = torch.stack([looked_for_SBD, readout_S1D.expand_as(looked_for_SBD)], -1)
            scores_SBN, values_SBN = matmul(context, both_SBD2).unbind(-1)
            answer = answer + (self._weights(scores_SBN, layer, size) * values_SBN).sum(-1, keepdim=True)
        return self._limited(answer)

    def _limited(self, tokens: Tensor) -> Tensor:
        return tokens if self.token_limit is None else tokens.clamp(-self.token_limit, self.token_limit)

    def _weights(self, scores: Tensor, layer: int, size: int) -> Tensor:
        """Attention weights, keys last."""
        is_softmax = self.softmax == "every" or (self.softmax == "first" and layer == 0)
        return (scores * (1 / math.sqrt(size))).softmax(-1) if is_softmax else scores

    def _prefix(self, layer: int) -> str:
        return f"layer{0 if self.is_tied else layer}."

    def _heads(self, parameters: Mapping[str, Tensor], layer: int, size: int) -> Iterator[tuple[Tensor, ...]]:
        """W_Q, W_K, W_V and P of each head, (S, D, D) each."""
        query, key, value, projection = (parameters[self._prefix(layer) + matrix] for matrix in _MATRICES)
        for start in range(0, self.num_heads * size, size):
            rows = slice(start, start + size)
            yield query[:, rows], key[:, rows], value[:, rows], projection[:, :, rows]

    def probes(self, parameters: Mapping[str, Tensor], inputs: Tensor) -> dict[str, Tensor]:
        """With positions: sensitivity of the first layer's output at a context token to the inputs (their fig. 5).

        own, next and other_token_sensitivity: the norm of the gradient of the sum of the output's entries with respect
        to that token's own input, the next token's and all others'; the gradient is averaged over examples before its
        norm is taken, and norms over tokens, as in the public code. There "other" includes the next token; here it does
        not.
        """
        import torch

        if not self.position_width:
            return {}
        with torch.enable_grad():
            leaf = inputs.detach().requires_grad_(True)
            after, _ = self._layer(parameters, 0, self._positioned(leaf))
            num_asked = inputs.shape[2] - 2
            norms = []
            for token in range(num_asked):
                (slope,) = torch.autograd.grad(after[:, :, token].sum(), leaf, retain_graph=True)
                norms.append(slope.mean(1).norm(dim=-1).roll(-token, 1))
        # Column 0 is the token itself, column 1 the next.
        norms_SL = torch.stack(norms).mean(0)
        names = ("own_token_sensitivity", "next_token_sensitivity", "other_token_sensitivity")
        return dict(zip(names, (norms_SL[:, 0], norms_SL[:, 1], norms_SL[:, 2:].mean(1)), strict=True))


def _moved(matrix: Tensor, tokens: Tensor) -> Tensor:
    """Tokens (S, ..., D) times a matrix (S, rows, D): (S, ..., rows).

    Weights act from the left in the paper, on column tokens; tokens are rows here.
    """
    from pipeline.numerics.matmul import matmul

    moved = matmul(tokens.reshape(len(tokens), -1, tokens.shape[-1]), matrix.transpose(1, 2))
    return moved.view(*tokens.shape[:-1], -1)


def _sinusoids(length: int, width: int, like: Tensor) -> Tensor:
    """(L, W): sin and cos, in turn, of the position times 10000^(-2i / W)."""
    import torch

    rate_W = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10000.0) / width))
    angle_LW = torch.arange(length, dtype=torch.float64).unsqueeze(1) * rate_W
    return torch.stack([angle_LW.sin(), angle_LW.cos()], dim=-1).flatten(1).to(like)


def _square(weights: list[Tensor]) -> Tensor:
    """(S, B, H, L, L) from each head's (S, B, L, N), with zeros for the query, which is not a key."""
    import torch

    return torch.nn.functional.pad(torch.stack(weights, dim=2), (0, 1))
