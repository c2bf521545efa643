"""Which numbers of circuits a model has, by its class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from pipeline.models.attention_only import AttentionOnly
from pipeline.models.linear_self_attention import LinearSelfAttention
from pipeline.models.merged_softmax_attention import MergedSoftmaxAttention
from pipeline.models.transformer import Transformer
from pipeline.readings._cooccurrence import cooccurrence
from pipeline.readings._decoder_circuits import decoder_numbers
from pipeline.readings._factors import factors_of, padded, product
from pipeline.readings.base import Weights

# Pairs of matrices of a head that act through their product alone: which, under what name, A^T B or A B.
_PRODUCTS = {"key_query": ("key", "query", True), "projection_value": ("projection", "value", False)}


def circuit_numbers(weights: Weights) -> Iterable[tuple[str, Tensor]]:
    """(name, (S,) float64), as the model's class has them."""
    return _by_class(weights).items()


def _by_class(weights: Weights) -> dict[str, Tensor]:
    model, parameters = weights.model, weights.parameters
    if isinstance(model, (AttentionOnly, Transformer)):
        factors = factors_of(parameters, model.num_heads, model.num_layers)
        mlps = {name: own for name, own in parameters.items() if name.endswith((".up", ".down"))}
        return decoder_numbers(factors, cooccurrence(weights.task, weights.batch)) | _parameter_numbers(mlps)
    if isinstance(model, MergedSoftmaxAttention):
        return _feature_numbers(model, parameters, weights.batch.inputs.shape[2])
    if isinstance(model, LinearSelfAttention):
        return _linear_numbers(parameters, model.num_heads)
    return _parameter_numbers(parameters)


def _parameter_numbers(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of each parameter A: log ||A||, and ||A A^T|| / ||A||^2, which is 1 for a matrix of rank one.

    Queries and keys, and values and projections, come as products, where a model names them so.
    """
    found = {}
    for name, matrix in _merged(parameters).items():
        norm_S = matrix.square().flatten(1).sum(1)
        found[f"{name}_norm"] = norm_S.log() / 2
        if min(matrix.shape[1:]) > 1:
            wide = padded(matrix if matrix.shape[1] <= matrix.shape[2] else matrix.transpose(1, 2))
            found[f"{name}_concentration"] = (
                product(wide, wide.transpose(1, 2)).square().flatten(1).sum(1).sqrt() / norm_S
            )
    return found


def _merged(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters (S, rows, columns), float64, with products in the place of their factors."""
    found = {name: value.double() for name, value in parameters.items()}
    for prefix in sorted({name.rpartition(".")[0] for name in parameters}):
        dot = f"{prefix}." if prefix else ""
        for name, (left, right, is_transposed) in _PRODUCTS.items():
            if dot + left in found and dot + right in found:
                first, second = padded(found.pop(dot + left)), padded(found.pop(dot + right))
                found[dot + name] = product(first.transpose(1, 2) if is_transposed else first, second)
    return found


def _feature_numbers(model: MergedSoftmaxAttention, parameters: Mapping[str, Tensor], num: int) -> dict[str, Tensor]:
    """Own weights B_kk and cross weights B_kn of the features: their means, the least own, the largest cross weight.

    `bilinear_norm`: the log norm of Q. `margin`: the least, over query features k, of B_kk less the largest B_kn.
    """
    weights_SKK = model.feature_weights(parameters, num).double()
    own_SK = weights_SKK.diagonal(dim1=1, dim2=2)
    is_own = torch.eye(num, dtype=torch.bool, device=weights_SKK.device)
    cross_SKK = weights_SKK.masked_fill(is_own, -torch.inf)
    return {
        "bilinear_norm": parameters["bilinear"].double().square().flatten(1).sum(1).log() / 2,
        "own_weight": own_SK.mean(1),
        "own_weight_min": own_SK.amin(1),
        "cross_weight": weights_SKK.masked_fill(is_own, 0.0).flatten(1).sum(1) / (num * (num - 1)),
        "cross_weight_max": cross_SKK.flatten(1).amax(1),
        "margin": (own_SK - cross_SKK.amax(2)).amin(1),
    }


def _linear_numbers(parameters: Mapping[str, Tensor], num_heads: int) -> dict[str, Tensor]:
    """How near each layer is to the construction of one gradient step (von Oswald et al. 2023, Proposition 1).

    There W_K^T W_Q is the identity on inputs and 0 on the answer, and P W_V passes on the answer alone, the last entry.
    `key_query_diagonal`: mean of the diagonal over inputs; `key_query_alignment`: that diagonal's sum over its largest
    value at the same norm; `projection_value_answer`: the entry from answer to answer; `.._share`: its size relative to
    all that reaches the answer; `step`: the product of the two, summed over heads: the step size. Others: the largest
    over heads, and the mean as `NAME.mean`.
    """
    found: dict[str, Tensor] = {}
    for prefix in sorted({name.rpartition(".")[0] for name in parameters}, key=lambda name: int(name[5:])):
        own = {
            name.rpartition(".")[2]: value.double()
            for name, value in parameters.items()
            if name.startswith(f"{prefix}.")
        }
        names = _head_numbers(own, num_heads)
        for name, value_SH in names.items():
            found[f"{prefix}.{name}"] = value_SH.amax(1)
            if num_heads > 1:
                found[f"{prefix}.{name}.mean"] = value_SH.mean(1)
        step_SH = names["key_query_diagonal"] * names["projection_value_answer"]
        found[f"{prefix}.step"] = step_SH.sum(1)
        mlp = {f"{prefix}.{name}": own[name] for name in ("up", "down") if name in own}
        found |= _parameter_numbers(mlp)
    return found


def _head_numbers(own: Mapping[str, Tensor], num_heads: int) -> dict[str, Tensor]:
    """Name -> (S, H)."""
    size = own["query"].shape[2]
    query, key, value = (padded(own[name].view(-1, num_heads, size, size)) for name in ("query", "key", "value"))
    projection = padded(own["projection"].view(-1, size, num_heads, size).transpose(1, 2))
    key_query, projection_value = product(key.transpose(-1, -2), query), product(projection, value)
    answer = size - 1
    diagonal_SHX = key_query.diagonal(dim1=2, dim2=3)[..., :answer]
    norm_SH, last_SHD = key_query.square().flatten(2).sum(2).sqrt(), projection_value[:, :, answer]
    reaching_SH = last_SHD.square().sum(2).sqrt()
    return {
        "key_query_norm": norm_SH.log(),
        "key_query_diagonal": diagonal_SHX.mean(2),
        "key_query_alignment": diagonal_SHX.sum(2) / (norm_SH * answer**0.5),
        "projection_value_norm": projection_value.square().flatten(2).sum(2).log() / 2,
        "projection_value_answer": last_SHD[:, :, answer],
        "projection_value_share": last_SHD[:, :, answer] / reaching_SH,
    }
