"""Batches in JAX, one run each and to be vmapped over runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import jax
import jax.numpy as jnp

from benchmarks.peers.jax_models import Inputs, barrier
from benchmarks.workloads import Lookup, Regression, Workload

Generator = Literal["threefry", "threefry_partitionable", "rbg", "unsafe_rbg"]
GENERATORS: tuple[Generator, ...] = ("threefry", "threefry_partitionable", "rbg", "unsafe_rbg")


def key_of(seed: jax.Array | int, generator: Generator) -> jax.Array:
    """A key of this generator for a seed."""
    return jax.random.key(seed, impl="threefry2x32" if generator.startswith("threefry") else generator)


@contextmanager
def drawing_by(generator: Generator) -> Iterator[None]:
    """Trace programs with this generator's settings; JAX's default is partitionable."""
    with jax.threefry_partitionable(generator == "threefry_partitionable"):
        yield


def draw(workload: Workload, key: jax.Array) -> tuple[Inputs, jax.Array]:
    """(inputs, targets): tokens (B, L) with classes (B,) or (B, L), or x (d, L, B) and y (L, B) with values (B,)."""
    task = workload.task
    if isinstance(task, Regression):
        return _regression(task, workload.batch_size, key)
    if isinstance(task, Lookup):
        return _lookup(task, workload.batch_size, key)
    period = _integers(jax.random.bits(key, (workload.batch_size, task.period)), task.num_tokens)
    tokens = jnp.concatenate([period, period], 1)
    return tokens, jnp.roll(tokens, -1, 1)


def _regression(task: Regression, num_examples: int, key: jax.Array) -> tuple[Inputs, jax.Array]:
    for_x, for_teacher = jax.random.split(key)
    shape, bound = (task.dim, task.length, num_examples), task.input_range
    # Without the barriers XLA fuses the draws into every reader, and draws them again for each.
    x_DLB = barrier(jax.random.uniform(for_x, shape, minval=-bound, maxval=bound))
    teacher_DB = barrier(jax.random.normal(for_teacher, (task.dim, num_examples)))
    terms = [x_DLB[entry] * teacher_DB[entry] for entry in range(task.dim)]
    y_LB = barrier(sum(terms[1:], start=terms[0]))
    return (x_DLB, y_LB), y_LB[-1]


def _lookup(task: Lookup, num_examples: int, key: jax.Array) -> tuple[Inputs, jax.Array]:
    bits = jax.random.bits(key, (num_examples, task.num_pairs + task.num_keys + 1))
    keys = _integers(bits[:, : task.num_pairs], task.num_keys)
    mapping = _integers(bits[:, task.num_pairs : -1], task.num_values)
    query = jnp.take_along_axis(keys, _integers(bits[:, -1:], task.num_pairs), 1)
    pairs = jnp.stack([keys, jnp.take_along_axis(mapping, keys, 1) + task.num_keys], -1)
    tokens = jnp.concatenate([pairs.reshape(num_examples, -1), query], 1)
    return tokens, jnp.take_along_axis(mapping, query, 1)[:, 0]


def _integers(bits: jax.Array, high: int) -> jax.Array:
    """In [0, high), each value's probability off by at most 2**-32."""
    return (bits % high).astype(jnp.int32)
