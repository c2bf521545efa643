"""Circuits of small trained decoders: mean ablation, swaps between two models, and their QK and OV matrices.

Terms are those of Elhage et al. (2021), A Mathematical Framework for Transformer Circuits: the QK circuit of a head
says where it attends, the OV circuit what it moves. Putting one model's representation into another is model stitching
(Lenc and Vedaldi, 2015).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Floats, Ints

# As in torch's layer_norm.
_EPSILON = 1e-5


@dataclass(frozen=True)
class OneHeadDecoder:
    """A causal decoder with layers x + A(norm(x)) of one head and no MLP; norm centres and scales, without weights.

    `embedding` (V, D), `position` (L, D), `unembedding` (D, O). For each layer `query`, `key` and `value` (D, K), and
    `output` (K, D).
    """

    embedding: Floats
    position: Floats
    query: tuple[Floats, ...]
    key: tuple[Floats, ...]
    value: tuple[Floats, ...]
    output: tuple[Floats, ...]
    unembedding: Floats

    @classmethod
    def of(cls, parameters: Mapping[str, Floats]) -> OneHeadDecoder:
        """From parameters as `attention_only` names them: embedding, position, layer0.query, ..., unembedding."""
        num_layers = sum(name.endswith(".query") for name in parameters)
        layers = {
            name: tuple(np.asarray(parameters[f"layer{layer}.{name}"], np.float64) for layer in range(num_layers))
            for name in ("query", "key", "value", "output")
        }
        rest = (np.asarray(parameters[name], np.float64) for name in ("embedding", "position", "unembedding"))
        embedding, position, unembedding = rest
        return cls(embedding, position, **layers, unembedding=unembedding)

    @property
    def num_layers(self) -> int:
        """Number of layers, each of one head."""
        return len(self.query)

    def embed(self, tokens_BL: Ints) -> Floats:
        """The residual stream (B, L, D) before the first layer."""
        return np.asarray(self.embedding[tokens_BL] + self.position[: tokens_BL.shape[1]])

    def attention(self, layer: int, x_BLD: Floats) -> Floats:
        """The attention map (B, L, L) of a layer, queries first."""
        normed = layer_normed(x_BLD)
        queries, keys = normed @ self.query[layer], normed @ self.key[layer]
        return causal_softmax(queries @ keys.swapaxes(-1, -2) / np.sqrt(self.query[layer].shape[1]))

    def update(self, layer: int, x_BLD: Floats, map_BLL: Floats) -> Floats:
        """What the head of a layer adds to the residual stream (B, L, D) under this attention map."""
        return np.asarray(map_BLL @ (layer_normed(x_BLD) @ self.value[layer]) @ self.output[layer])

    def states(self, tokens_BL: Ints) -> list[Floats]:
        """The residual stream (B, L, D) before every layer, and after the last."""
        found = [self.embed(tokens_BL)]
        for layer in range(self.num_layers):
            found.append(found[-1] + self.update(layer, found[-1], self.attention(layer, found[-1])))
        return found

    def maps(self, tokens_BL: Ints) -> list[Floats]:
        """The attention map (B, L, L) of every layer."""
        return [self.attention(layer, x_BLD) for layer, x_BLD in enumerate(self.states(tokens_BL)[:-1])]

    def answers(self, x_BLD: Floats, first: int = 0, *, maps: Sequence[Floats | None] = ()) -> Ints:
        """(B,) the most probable class at the last position, from the residual stream before layer `first`.

        `maps` replaces the attention maps of the first so many layers, None keeps one.
        """
        for layer in range(first, self.num_layers):
            given = maps[layer] if layer < len(maps) else None
            x_BLD = x_BLD + self.update(layer, x_BLD, self.attention(layer, x_BLD) if given is None else given)
        return np.asarray(np.argmax(layer_normed(x_BLD[:, -1]) @ self.unembedding, axis=-1))


def layer_normed(x: Floats) -> Floats:
    """x with mean 0 and variance 1 over its last axis."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + _EPSILON))


def causal_softmax(scores_LL: Floats) -> Floats:
    """Softmax over the keys (last axis) up to each query's own position."""
    length = scores_LL.shape[-1]
    seen = np.where(np.tril(np.ones((length, length), dtype=bool)), scores_LL, -np.inf)
    weight = np.exp(seen - seen.max(axis=-1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=-1, keepdims=True))


def accuracy(answers_B: Ints, targets_B: Ints) -> float:
    """The share of right answers."""
    return float(np.mean(answers_B == targets_B))


def mean_ablated(
    decoder: OneHeadDecoder, tokens_BL: Ints, targets_B: Ints, layer: int, positions: Sequence[int] | None = None
) -> float:
    """Accuracy with the head of a layer replaced, at these positions (default: all), by its mean over the examples.

    What a head adds in every example alike is kept; what it says about the example is gone. Later layers see that.
    """
    x_BLD = decoder.states(tokens_BL)[layer]
    update_BLD = decoder.update(layer, x_BLD, decoder.attention(layer, x_BLD))
    at = slice(None) if positions is None else list(positions)
    update_BLD[:, at] = update_BLD[:, at].mean(axis=0)
    return accuracy(decoder.answers(x_BLD + update_BLD, layer + 1), targets_B)


def transplanted(
    donor: OneHeadDecoder, host: OneHeadDecoder, tokens_BL: Ints, targets_B: Ints, layer: int = 0
) -> float:
    """Accuracy of the host with the donor's weights of one layer in place of its own."""
    x_BLD = host.states(tokens_BL)[layer]
    x_BLD = x_BLD + donor.update(layer, x_BLD, donor.attention(layer, x_BLD))
    return accuracy(host.answers(x_BLD, layer + 1), targets_B)


def with_maps_of(donor: OneHeadDecoder, host: OneHeadDecoder, tokens_BL: Ints, targets_B: Ints) -> float:
    """Accuracy of the host with the donor's attention maps of the same examples in all layers: QK swapped, OV kept."""
    return accuracy(host.answers(host.embed(tokens_BL), maps=donor.maps(tokens_BL)), targets_B)


def affine_map(from_ND: Floats, to_ND: Floats) -> Floats:
    """(D + 1, D) the least-squares affine map between two sets of N vectors; its last row is the shift."""
    with_one = np.concatenate([from_ND, np.ones((len(from_ND), 1))], axis=1)
    return np.asarray(np.linalg.lstsq(with_one, to_ND, rcond=None)[0])


def previous_position_share(decoder: OneHeadDecoder, tokens_BL: Ints, queries: Sequence[int]) -> float:
    """The share of these queries at which the first layer's QK circuit prefers the position before, of all they see.

    From the weights: the circuit's scores between positions, each with the mean embedding of the tokens that occur
    there in these examples.
    """
    normed_LD = layer_normed(decoder.embed(tokens_BL).mean(axis=0))
    scores_LL = (normed_LD @ decoder.query[0]) @ (normed_LD @ decoder.key[0]).T
    return float(np.mean([int(np.argmax(scores_LL[at, : at + 1])) == at - 1 for at in queries]))


def matching_share(decoder: OneHeadDecoder, tokens: Sequence[int]) -> float:
    """The share of tokens whose query in layer 2 prefers, of all these, what layer 1's OV circuit moves of the same.

    This is K-composition: E W_Q2 (E W_V1 W_O1 W_K2)^T, less each token's mean, has its largest entry of a row on the
    diagonal.
    """
    embedded = _relative(decoder.embedding[list(tokens)])
    moved = _centred(embedded @ decoder.value[0] @ decoder.output[0])
    return _on_diagonal((embedded @ decoder.query[1]) @ (moved @ decoder.key[1]).T)


def copying_share(decoder: OneHeadDecoder, tokens: Sequence[int]) -> float:
    """The share of tokens whose own class layer 2's OV circuit raises most: class i is of tokens[i].

    E W_V2 W_O2 W_U, less each token's mean, has its largest entry of a row on the diagonal.
    """
    moved = _relative(decoder.embedding[list(tokens)]) @ decoder.value[1] @ decoder.output[1]
    return _on_diagonal(_centred(moved) @ decoder.unembedding)


def _centred(x: Floats) -> Floats:
    return np.asarray(x - x.mean(axis=-1, keepdims=True))


def _relative(x_ND: Floats) -> Floats:
    """What is of each token alone: centred over the width, as a norm does, and less the mean of all tokens."""
    centred_ND = _centred(x_ND)
    return np.asarray(centred_ND - centred_ND.mean(axis=0))


def _on_diagonal(scores_NN: Floats) -> float:
    return float(np.mean(np.argmax(scores_NN, axis=1) == np.arange(len(scores_NN))))
