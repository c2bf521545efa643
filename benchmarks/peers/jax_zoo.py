"""The modules of tests/zoo in JAX, one run each and to be vmapped over runs.

Parameters are dicts by torch's names. Nothing is computed that the loss does not read: where the last position alone is
asked, the layers behind the last mixing of positions are computed there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from benchmarks.peers.jax_models import Attend, barrier

Parameters = Mapping[str, jax.Array]
# (parameters, inputs, how all positions attend to all) -> predictions (B, O), or (B, L, O).
Predict = Callable[[Parameters, jax.Array, Attend], jax.Array]

_HEADS = 2


def gpt2(parameters: Parameters, tokens_BL: jax.Array, attend: Attend) -> jax.Array:
    """Blocks of GPT-2 with affine norms, biases and exact GELU; logits (B, L, O) by the embedding itself."""
    x = parameters["embedding.weight"][tokens_BL] + parameters["position.weight"]
    for block in range(sum(name.endswith("qkv.weight") for name in parameters)):
        own = _below(parameters, f"blocks.{block}")
        query, key, value = jnp.split(_linear(own, "qkv", _layer_norm(own, "norm1", x)), 3, -1)
        mixed = attend(_heads(query), _heads(key), _heads(value))
        x = x + _linear(own, "out", _joined(mixed))
        inner = jax.nn.gelu(_linear(own, "up", _layer_norm(own, "norm2", x)), approximate=False)
        x = x + _linear(own, "down", inner)
    return _rows_times(_layer_norm(parameters, "norm", x), parameters["embedding.weight"].T)


def rotary(parameters: Parameters, tokens_BL: jax.Array, attend: Attend) -> jax.Array:
    """One Llama block; behind the keys and values only the last position is asked for."""
    x = parameters["embedding.weight"][tokens_BL]
    normed = _rms_norm(parameters, "norm1", x)
    key, value = (_heads(_linear(parameters, name, normed)) for name in ("key", "value"))
    query = _heads(_linear(parameters, "query", normed[:, -1:]))
    length = tokens_BL.shape[1]
    scores = jnp.einsum("bhqk,bhlk->bhql", _turned(query, length - 1), _turned(key, 0)) / math.sqrt(query.shape[-1])
    mixed = jnp.einsum("bhql,bhlk->bhqk", jax.nn.softmax(scores), value)
    last = x[:, -1] + _linear(parameters, "out", _joined(mixed)[:, 0])
    normed = _rms_norm(parameters, "norm2", last)
    gated = jax.nn.silu(_linear(parameters, "gate", normed)) * _linear(parameters, "up", normed)
    return _linear(parameters, "head", _rms_norm(parameters, "norm3", last + _linear(parameters, "down", gated)))


def mlp(parameters: Parameters, tokens_BL: jax.Array, attend: Attend) -> jax.Array:
    """Two hidden layers over all embeddings."""
    x = _embedded_flat(parameters, tokens_BL)
    for layer in (0, 2):
        x = jax.nn.relu(_linear(parameters, f"layers.{layer}", x))
    return _linear(parameters, "head", x)


def gru(parameters: Parameters, tokens_BL: jax.Array, attend: Attend) -> jax.Array:
    """torch's GRU, unrolled; the inputs' shares of the gates are computed for all positions at once."""
    given_BLG, hidden_G, state = _recurrent(parameters, tokens_BL)
    for position in range(tokens_BL.shape[1]):
        reset, update, new = jnp.split(given_BLG[:, position], 3, -1)
        of_reset, of_update, of_new = jnp.split(state @ hidden_G[0] + hidden_G[1], 3, -1)
        gate = jax.nn.sigmoid(update + of_update)
        state = (1 - gate) * jnp.tanh(new + jax.nn.sigmoid(reset + of_reset) * of_new) + gate * state
    return _linear(parameters, "head", state)


def lstm(parameters: Parameters, tokens_BL: jax.Array, attend: Attend) -> jax.Array:
    """torch's LSTM, unrolled."""
    given_BLG, hidden_G, state = _recurrent(parameters, tokens_BL)
    cell = state
    for position in range(tokens_BL.shape[1]):
        gates = given_BLG[:, position] + state @ hidden_G[0] + hidden_G[1]
        entered, forgot, new, left = jnp.split(gates, 4, -1)
        cell = jax.nn.sigmoid(forgot) * cell + jax.nn.sigmoid(entered) * jnp.tanh(new)
        state = jax.nn.sigmoid(left) * jnp.tanh(cell)
    return _linear(parameters, "head", state)


def convolution(parameters: Parameters, tokens_BL: jax.Array, attend: Attend) -> jax.Array:
    """Two convolutions over positions as products with windows, which XLA computes faster than with a filter a run."""
    x = parameters["embedding.weight"][tokens_BL]
    x = jnp.pad(x, ((0, 0), (1, 1), (0, 0)))
    x = jax.nn.relu(_windows_times(parameters, "first", _windows(x, tokens_BL.shape[1], 1)))
    x = jax.nn.relu(_windows_times(parameters, "second", _windows(x, (x.shape[1] - 3) // 2 + 1, 2)))
    return _linear(parameters, "head", x.mean(1))


def picture(parameters: Parameters, inputs_BLD: jax.Array, attend: Attend) -> jax.Array:
    """Two convolutions on 8 x 8 pixels, as products with windows."""
    num_examples = inputs_BLD.shape[0]
    pixels = inputs_BLD.reshape(num_examples, -1)[:, :64]
    pixels = jnp.pad(pixels, ((0, 0), (0, 64 - pixels.shape[1]))).reshape(num_examples, 8, 8, 1)
    x = jnp.pad(pixels, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = jax.nn.relu(_patches_times(parameters, "first", x, 8, 1))
    x = jax.nn.relu(_patches_times(parameters, "second", x, 3, 2))
    # torch's order of the flat pixels: channels first.
    return _linear(parameters, "head", jnp.moveaxis(x, -1, 1).reshape(num_examples, -1))


def linear_attention(parameters: Parameters, tokens_BL: jax.Array, attend: Attend) -> jax.Array:
    """At the last position alone."""
    x = parameters["embedding.weight"][tokens_BL]
    query = jax.nn.elu(_linear(parameters, "query", x[:, -1])) + 1
    key, value = jax.nn.elu(_linear(parameters, "key", x)) + 1, _linear(parameters, "value", x)
    weights = jnp.einsum("bk,blk->bl", query, key)
    mixed = jnp.einsum("bl,blk->bk", weights, value) / weights.sum(-1, keepdims=True)
    return _linear(parameters, "head", _layer_norm(parameters, "norm", x[:, -1] + mixed))


def experts(parameters: Parameters, tokens_BL: jax.Array, attend: Attend) -> jax.Array:
    """Two experts and a soft gate."""
    x = _embedded_flat(parameters, tokens_BL)
    answers = [
        _linear(parameters, f"experts.{one}.2", jnp.tanh(_linear(parameters, f"experts.{one}.0", x))) for one in (0, 1)
    ]
    gate = jax.nn.softmax(_linear(parameters, "gate", x))
    return gate[:, :1] * answers[0] + gate[:, 1:] * answers[1]


PREDICT: dict[str, Predict] = {
    "everywhere": gpt2,
    "rotary": rotary,
    "mlp": mlp,
    "gru": gru,
    "lstm": lstm,
    "convolution": convolution,
    "picture": picture,
    "linear_attention": linear_attention,
    "experts": experts,
}


def _below(parameters: Parameters, name: str) -> Parameters:
    return {key.removeprefix(f"{name}."): value for key, value in parameters.items() if key.startswith(f"{name}.")}


def _rows_times(x: jax.Array, matrix: jax.Array) -> jax.Array:
    """A product over the last axis as one of two matrices."""
    return (x.reshape(-1, x.shape[-1]) @ matrix).reshape(*x.shape[:-1], matrix.shape[1])


def _linear(parameters: Parameters, name: str, x: jax.Array) -> jax.Array:
    product = _rows_times(x, parameters[f"{name}.weight"].T)
    return product + parameters[f"{name}.bias"] if f"{name}.bias" in parameters else product


def _layer_norm(parameters: Parameters, name: str, x: jax.Array) -> jax.Array:
    centred = x - x.mean(-1, keepdims=True)
    normed = centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5)
    return normed * parameters[f"{name}.weight"] + parameters[f"{name}.bias"]


def _rms_norm(parameters: Parameters, name: str, x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-6) * parameters[f"{name}.weight"]


def _heads(x_BLD: jax.Array) -> jax.Array:
    """(B, H, L, K)."""
    return x_BLD.reshape(*x_BLD.shape[:2], _HEADS, -1).swapaxes(1, 2)


def _joined(x_BHLK: jax.Array) -> jax.Array:
    """(B, L, D)."""
    return x_BHLK.swapaxes(1, 2).reshape(x_BHLK.shape[0], x_BHLK.shape[2], -1)


def _turned(x_BHLK: jax.Array, first: int) -> jax.Array:
    """Rotary positions from `first` on."""
    half = x_BHLK.shape[-1] // 2
    angle = (first + jnp.arange(x_BHLK.shape[2]))[:, None] * 100.0 ** (-jnp.arange(half) / half)
    cos, sin = jnp.cos(angle).astype(x_BHLK.dtype), jnp.sin(angle).astype(x_BHLK.dtype)
    one, other = x_BHLK[..., :half], x_BHLK[..., half:]
    return jnp.concatenate([one * cos - other * sin, one * sin + other * cos], -1)


def _embedded_flat(parameters: Parameters, tokens_BL: jax.Array) -> jax.Array:
    return parameters["embedding.weight"][tokens_BL].reshape(tokens_BL.shape[0], -1)


def _recurrent(
    parameters: Parameters, tokens_BL: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array], jax.Array]:
    """The inputs' share of the gates (B, L, G), matrix and bias of the states' share, and the first state (B, D)."""
    x = parameters["embedding.weight"][tokens_BL]
    given = _rows_times(x, parameters["cells.weight_ih_l0"].T) + parameters["cells.bias_ih_l0"]
    hidden = barrier(parameters["cells.weight_hh_l0"].T), parameters["cells.bias_hh_l0"]
    return given, hidden, jnp.zeros((x.shape[0], x.shape[2]), x.dtype)


def _windows(x_BLD: jax.Array, num_windows: int, step: int) -> jax.Array:
    """(B, W, D, 3): three positions from each multiple of `step` on."""
    last = step * (num_windows - 1) + 1
    return jnp.stack([x_BLD[:, offset : offset + last : step] for offset in range(3)], -1)


def _windows_times(parameters: Parameters, name: str, windows: jax.Array) -> jax.Array:
    """Filters (O, D, 3) at every window: (B, W, O)."""
    weight, bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
    return _rows_times(windows.reshape(*windows.shape[:2], -1), weight.reshape(weight.shape[0], -1).T) + bias


def _patches_times(parameters: Parameters, name: str, x_BYXC: jax.Array, size: int, step: int) -> jax.Array:
    """Filters (O, C, 3, 3) at every multiple of `step`: (B, size, size, O)."""
    weight, bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
    last = step * (size - 1) + 1
    shifts = [(row, column) for row in range(3) for column in range(3)]
    patches = jnp.stack([x_BYXC[:, y : y + last : step, x : x + last : step] for y, x in shifts], -1)
    return _rows_times(patches.reshape(*patches.shape[:3], -1), weight.reshape(weight.shape[0], -1).T) + bias
