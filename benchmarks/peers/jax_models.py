"""The models in JAX, one run each and to be vmapped over runs, with the same algebra as seedbed's.

Parameters are dicts by seedbed's names of matrices (rows, columns). Nothing is computed that the loss does not read:
linear attention is two weighted sums, and a last layer that is asked for the last position alone is computed there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Literal

import jax
import jax.numpy as jnp

from benchmarks.workloads import Decoder, RegressionWorkload, TokenWorkload, Workload

Parameters = Mapping[str, jax.Array]
Inputs = jax.Array | tuple[jax.Array, jax.Array]
Attention = Literal["plain", "by_hand"]
Attend = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def initial(workload: Workload, key: jax.Array) -> dict[str, jax.Array]:
    """One run's parameters at step 0."""
    shapes = workload.matrices()
    ends = list(itertools.accumulate(shape.rows * shape.columns for shape in shapes.values()))
    is_truncated = all(shape.is_truncated for shape in shapes.values())
    # All at once: each call of the generator is compiled by itself.
    drawn = (
        jax.random.truncated_normal(key, -2.0, 2.0, ends[-1:]) if is_truncated else jax.random.normal(key, ends[-1:])
    )
    parts = jnp.split(drawn, ends[:-1])
    return {
        name: part.reshape(shape.rows, shape.columns) * shape.std
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


def loss(
    workload: Workload, parameters: Parameters, inputs: Inputs, targets: jax.Array, attention: Attention = "by_hand"
) -> jax.Array:
    """Mean loss of one run's batch."""
    if isinstance(workload, RegressionWorkload):
        assert isinstance(inputs, tuple)
        return _regression_loss(parameters, *inputs, targets)
    assert isinstance(inputs, jax.Array)
    logits = decode(workload, parameters, inputs, attention)
    wanted = jax.nn.one_hot(targets, logits.shape[-1], dtype=logits.dtype)
    return -(jax.nn.log_softmax(logits) * wanted).sum(-1).mean()


def _regression_loss(parameters: Parameters, x_DLB: jax.Array, y_LB: jax.Array, targets_B: jax.Array) -> jax.Array:
    """Half the squared error of the query's answer, -sum_j (p W_V e_j) (e_j W_K^T W_Q e_q).

    Examples stand last, and sums over entries are written out, so that XLA makes one vectorised loop over examples of
    all of it; as products over example-first arrays it takes two to four times as long.
    """
    query, key, value, projection = (parameters[f"layer0.{name}"] for name in ("query", "key", "value", "projection"))
    looked_for_EB = (query.T @ key)[:-1].T @ x_DLB[:, -1]
    readout_E = projection[-1] @ value

    def context_sum(weight: jax.Array) -> jax.Array:
        terms = [x_DLB[entry, :-1] * weight[entry] for entry in range(len(x_DLB))]
        return sum(terms, start=y_LB[:-1] * weight[-1])

    answer_B = -(context_sum(looked_for_EB) * context_sum(readout_E)).sum(0)
    return 0.5 * jnp.square(answer_B - targets_B).mean()


def decode(workload: TokenWorkload, parameters: Parameters, tokens_BL: jax.Array, attention: Attention) -> jax.Array:
    """Logits (B, L, O), or (B, O) where the last position alone is asked."""
    model = workload.model
    attend: Attend = attend_by_hand if attention == "by_hand" else attend_plainly
    x = parameters["embedding"][tokens_BL] + parameters["position"]
    for layer in range(model.num_layers):
        own = {name.partition(".")[2]: value for name, value in parameters.items() if name.startswith(f"layer{layer}.")}
        if layer == model.num_layers - 1 and not workload.task.asks_everywhere:
            x = x[:, -1] + _layer_at_last(model, own, _norm(x))
        else:
            x = x + _layer(model, own, _norm(x), attend)
        if model.mlp_width:
            x = x + jax.nn.gelu(_norm(x) @ own["up"], approximate=True) @ own["down"]
    return _norm(x) @ parameters["unembedding"]


def barrier(x: jax.Array) -> jax.Array:
    """x, computed once and kept: XLA fuses nothing across it."""
    kept: jax.Array = jax.lax.optimization_barrier(x)  # type: ignore[no-untyped-call]
    return kept


def _norm(x: jax.Array) -> jax.Array:
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5)


def _layer(
    model: Decoder,
    own: Parameters,
    normed_BLD: jax.Array,
    attend: Attend,
) -> jax.Array:
    num_examples, length, width = normed_BLD.shape
    rows = normed_BLD.reshape(-1, width)
    shape = (num_examples, length, model.num_heads, model.head_width)
    query, key, value = ((rows @ own[name]).reshape(shape).swapaxes(1, 2) for name in ("query", "key", "value"))
    mixed = attend(query, key, value).swapaxes(1, 2).reshape(-1, model.inner)
    return (mixed @ own["output"]).reshape(normed_BLD.shape)


def _layer_at_last(model: Decoder, own: Parameters, normed_BLD: jax.Array) -> jax.Array:
    """(B, D) at the last position. Keys and values are never formed: q (W_K^T x) = (W_K q) x, and likewise values."""
    num_examples, _, width = normed_BLD.shape
    key, value = (own[name].reshape(width, model.num_heads, model.head_width) for name in ("key", "value"))
    query_BHK = (normed_BLD[:, -1] @ own["query"]).reshape(num_examples, model.num_heads, model.head_width)
    looked_for_BHD = jnp.einsum("bhk,dhk->bhd", query_BHK, key) * (1 / math.sqrt(model.head_width))
    weights_BHL = jax.nn.softmax(jnp.einsum("bhd,bld->bhl", looked_for_BHD, normed_BLD))
    mean_BHD = jnp.einsum("bhl,bld->bhd", weights_BHL, normed_BLD)
    mixed = jnp.einsum("bhd,dhk->bhk", mean_BHD, value).reshape(num_examples, model.inner)
    return mixed @ own["output"]


def attend_plainly(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """Causal attention; all (B, H, L, K)."""
    return _weights(query, key) @ value


def _weights(query: jax.Array, key: jax.Array) -> jax.Array:
    length = query.shape[-2]
    scores = jnp.einsum("bhqk,bhlk->bhql", query, key) * (1 / math.sqrt(query.shape[-1]))
    return jax.nn.softmax(jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -jnp.inf))


@jax.custom_vjp
def attend_by_hand(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """The same, with the gradient written out.

    JAX's own makes small products that contract over rows of both operands, which XLA's CPU backend computes ten times
    more slowly than products with a transposed copy; the barriers keep XLA from undoing the copies.
    """
    return attend_plainly(query, key, value)


def _forward(query: jax.Array, key: jax.Array, value: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    weights = _weights(query, key)
    mixed = weights @ value
    return mixed, (query, key, value, weights, mixed)


def _backward(saved: tuple[jax.Array, ...], gradient: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    query, key, value, weights, mixed = saved
    for_weights = jnp.einsum("bhqk,bhlk->bhql", gradient, value)
    scale = 1 / math.sqrt(query.shape[-1])
    for_scores = weights * (for_weights - (gradient * mixed).sum(-1, keepdims=True)) * scale
    for_key, for_value = (
        (barrier(left.swapaxes(-1, -2)) @ right).swapaxes(-1, -2)
        for left, right in ((query, for_scores), (gradient, weights))
    )
    return for_scores @ key, for_key, for_value


attend_by_hand.defvjp(_forward, _backward)
