"""What JAX trains: a workload of the benchmark, or an ordinary module."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp

from benchmarks.peers.jax_batches import draw
from benchmarks.peers.jax_models import (
    Attend,
    Attention,
    Inputs,
    Parameters,
    attend_by_hand,
    attend_plainly,
    initial,
    loss,
)
from benchmarks.peers.jax_zoo import PREDICT
from benchmarks.workloads import Adam, RegressionWorkload, Workload


class Problem(Protocol):
    """Weights, batches and the loss of one run, to be vmapped over runs."""

    @property
    def optimiser(self) -> Adam:
        """Its settings."""

    @property
    def attentions(self) -> tuple[Attention, ...]:
        """The ways of computing attention that may differ in speed."""

    def initial(self, key: jax.Array) -> dict[str, jax.Array]:
        """One run's weights at step 0."""

    def draw(self, key: jax.Array) -> tuple[Inputs, jax.Array]:
        """A batch's inputs and targets."""

    def loss(self, parameters: Parameters, inputs: Inputs, targets: jax.Array, attention: Attention) -> jax.Array:
        """The mean over the batch."""


@dataclass(frozen=True)
class OfWorkload:
    """A workload, which draws its task's batches."""

    workload: Workload

    @property
    def optimiser(self) -> Adam:
        """Its settings."""
        return self.workload.optimiser

    @property
    def attentions(self) -> tuple[Attention, ...]:
        """Linear attention has one way."""
        return ("by_hand",) if isinstance(self.workload, RegressionWorkload) else ("by_hand", "plain")

    def initial(self, key: jax.Array) -> dict[str, jax.Array]:
        """One run's weights at step 0."""
        return initial(self.workload, key)

    def draw(self, key: jax.Array) -> tuple[Inputs, jax.Array]:
        """A batch of the task."""
        return draw(self.workload, key)

    def loss(self, parameters: Parameters, inputs: Inputs, targets: jax.Array, attention: Attention) -> jax.Array:
        """The mean over the batch."""
        return loss(self.workload, parameters, inputs, targets, attention)


@dataclass(frozen=True)
class OfModule:
    """A module of tests/zoo, on batches of random numbers: the cheapest there are.

    `shapes` are (name, shape) of its parameters by torch's names. With tokens, `size` of them and `num_outputs`
    classes; with vectors, `size` numbers each and half the squared error.
    """

    kind: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    is_tokens: bool
    length: int
    size: int
    num_outputs: int
    batch_size: int
    optimiser: Adam

    @property
    def attentions(self) -> tuple[Attention, ...]:
        """Only GPT-2 has attention between all positions."""
        return ("by_hand", "plain") if self.asks_everywhere else ("by_hand",)

    @property
    def asks_everywhere(self) -> bool:
        """Whether there is a target at every position."""
        return self.kind == "everywhere"

    def initial(self, key: jax.Array) -> dict[str, jax.Array]:
        """Small normal numbers, which take as long as any."""
        sizes = [math.prod(shape) for _, shape in self.shapes]
        ends = [sum(sizes[: place + 1]) for place in range(len(sizes) - 1)]
        parts = jnp.split(0.1 * jax.random.normal(key, (sum(sizes),)), ends)
        return {name: part.reshape(shape) for (name, shape), part in zip(self.shapes, parts, strict=True)}

    def draw(self, key: jax.Array) -> tuple[Inputs, jax.Array]:
        """Random tokens (B, L) or vectors (B, L, D), and random targets."""
        first, second = jax.random.split(key)
        if not self.is_tokens:
            inputs = jax.random.normal(first, (self.batch_size, self.length, self.size))
            return inputs, jax.random.normal(second, (self.batch_size, self.num_outputs))
        bits = jax.random.bits(first, (self.batch_size, self.length))
        asked = (self.batch_size, self.length) if self.asks_everywhere else (self.batch_size,)
        targets = jax.random.bits(second, asked) % self.num_outputs
        return (bits % self.size).astype(jnp.int32), targets.astype(jnp.int32)

    def loss(self, parameters: Parameters, inputs: Inputs, targets: jax.Array, attention: Attention) -> jax.Array:
        """The mean cross entropy, or half the mean squared error."""
        assert isinstance(inputs, jax.Array)
        attend: Attend = attend_by_hand if attention == "by_hand" else attend_plainly
        predictions = PREDICT[self.kind](parameters, inputs, attend)
        if not self.is_tokens:
            return 0.5 * jnp.square(predictions - targets).mean()
        wanted = jax.nn.one_hot(targets, self.num_outputs, dtype=predictions.dtype)
        return -(jax.nn.log_softmax(predictions) * wanted).sum(-1).mean()
