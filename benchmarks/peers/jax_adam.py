"""AdamW for one run whose learning rate is an argument, to be vmapped over runs: by optax, or written out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax  # type: ignore[import-untyped]

from benchmarks.workloads import Adam

AdamForm = Literal["optax", "by_hand"]
Weights = dict[str, jax.Array]
Start = Callable[[Weights], Any]
# (weights, state, gradients, lr) -> (weights, state)
Update = Callable[[Weights, Any, Weights, jax.Array], tuple[Weights, Any]]


def by_optax(wanted: Adam) -> tuple[Start, Update]:
    """The components of optax.adamw, without its fixed learning rate."""
    adam = optax.chain(
        optax.scale_by_adam(wanted.beta1, wanted.beta2, wanted.eps), optax.add_decayed_weights(wanted.weight_decay)
    )

    def update(weights: Weights, state: Any, gradients: Weights, lr: jax.Array) -> tuple[Weights, Any]:
        changes, state = adam.update(gradients, state, weights)
        return {name: weight - lr * changes[name] for name, weight in weights.items()}, state

    return adam.init, update


def by_hand(wanted: Adam) -> tuple[Start, Update]:
    """With running products of beta, so that no power is computed."""

    def start(weights: Weights) -> Any:
        means, squares = (jax.tree.map(jnp.zeros_like, weights) for _ in range(2))
        return means, squares, jnp.ones(()), jnp.ones(())

    def update(weights: Weights, state: Any, gradients: Weights, lr: jax.Array) -> tuple[Weights, Any]:
        means, squares, power1, power2 = state
        power1, power2 = power1 * wanted.beta1, power2 * wanted.beta2
        means = {name: wanted.beta1 * means[name] + (1 - wanted.beta1) * g for name, g in gradients.items()}
        squares = {name: wanted.beta2 * squares[name] + (1 - wanted.beta2) * g * g for name, g in gradients.items()}
        rate, correction = lr / (1 - power1), jax.lax.rsqrt(1 - power2)

        def moved(weight: jax.Array, mean: jax.Array, square: jax.Array) -> jax.Array:
            change: jax.Array = rate * mean / (jnp.sqrt(square) * correction + wanted.eps)
            return weight * (1 - lr * wanted.weight_decay) - change

        weights = {name: moved(weight, means[name], squares[name]) for name, weight in weights.items()}
        return weights, (means, squares, power1, power2)

    return start, update


ADAMS: dict[AdamForm, Callable[[Adam], tuple[Start, Update]]] = {"optax": by_optax, "by_hand": by_hand}
