"""JAX: one compiled program trains S runs side by side, many steps a call; one thread, one process per core."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]
from numpy.typing import NDArray

from benchmarks.peers.jax_adam import ADAMS, AdamForm
from benchmarks.peers.jax_batches import GENERATORS, Generator, drawing_by, key_of
from benchmarks.peers.jax_models import Attention
from benchmarks.peers.jax_problem import Problem

ENVIRONMENT = {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
}
WIDTHS = (1, 2, 4, 8, 16, 32, 64, 128)
_TRIED_FIRST = 8
_TRIAL_S = 0.7
_MIN_CALLS = 2
_FAR_SLOWER = 0.9


@dataclass(frozen=True)
class JaxChoice:
    """`width` runs side by side, `steps_per_call` steps of them in one call."""

    width: int = _TRIED_FIRST
    generator: Generator = "threefry"
    attention: Attention = "by_hand"
    optimiser: AdamForm = "optax"
    steps_per_call: int = 10


@dataclass(frozen=True)
class JaxSide:
    """`choice.width` runs at a time."""

    problem: Problem
    choice: JaxChoice = field(default_factory=JaxChoice)

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that its process must have from the start."""
        return ENVIRONMENT

    def start(self) -> JaxRuns:
        """Runs side by side, ready to train."""
        return JaxRuns(self.problem, self.choice)

    def compile_s(self) -> float:
        """Seconds that tracing and compiling its program take, measured when called."""
        runs = self.start()
        runs.warm_up()
        return runs.compile_s

    def tuned(self, widths: Sequence[int] = WIDTHS) -> JaxSide:
        """The fastest choice, tuned one part after another, the width last; measured now, two to five seconds each."""
        best = self._best("generator", GENERATORS)._best("attention", self.problem.attentions)
        return best._best("optimiser", ("optax", "by_hand"))._best("width", sorted(widths))

    def _best(self, part: str, values: Sequence[Any]) -> JaxSide:
        """The best of `values`; widths after two in a row that are far slower than the best are not tried."""
        best, far_slower = self, 0
        for index, value in enumerate(values):
            side = replace(self, choice=replace(self.choice, **{part: value}))
            if index == 0 or _speed(side) > _speed(best):
                best = side
            far_slower = far_slower + 1 if _speed(side) < _FAR_SLOWER * _speed(best) else 0
            if part == "width" and far_slower == 2:
                break
        return best


@cache
def _speed(side: JaxSide) -> float:
    return side.start().run_steps_per_second(_TRIAL_S)


class _State(NamedTuple):
    """Run axis first in every array."""

    parameters: dict[str, jax.Array]
    optimiser: Any
    loss: jax.Array


class JaxRuns:
    """S runs in training. The program is compiled at `warm_up`; `compile_s` says how long that took."""

    def __init__(self, problem: Problem, choice: JaxChoice) -> None:
        self.problem, self.choice = problem, choice
        self.width, self.steps_per_call = choice.width, choice.steps_per_call
        self.compile_s = float("nan")
        wanted = problem.optimiser
        self._lr_S = jnp.full(choice.width, wanted.lr)
        self._clip_S = jnp.full(choice.width, jnp.inf if wanted.clip is None else wanted.clip)
        seeds_S = jnp.arange(choice.width)
        with drawing_by(choice.generator):
            self._keys_S = jax.vmap(lambda seed: key_of(seed, choice.generator))(seeds_S)
            parameters = jax.jit(jax.vmap(lambda seed: problem.initial(jax.random.key(seed))))(seeds_S)
            start, self._update = ADAMS[choice.optimiser](wanted)
            self._state = _State(parameters, jax.vmap(start)(parameters), jnp.zeros(choice.width))
        self._step = 0

    @property
    def losses(self) -> NDArray[np.float32]:
        """(S,): of the last step."""
        return np.asarray(self._state.loss)

    def warm_up(self) -> None:
        """Compile the step, and record how long that took; not timed."""
        begin = time.perf_counter()
        program = jax.jit(self._many, donate_argnums=0)
        with drawing_by(self.choice.generator):
            lowered = program.lower(self._state, self._keys_S, self._lr_S, self._clip_S, self._step)
            self._program = lowered.compile()
        self.compile_s = time.perf_counter() - begin
        self.run(self.steps_per_call)

    def run(self, num_steps: int) -> None:
        """A multiple of `steps_per_call`; returns when they are done."""
        assert num_steps % self.steps_per_call == 0
        for _ in range(num_steps // self.steps_per_call):
            self._state = self._program(self._state, self._keys_S, self._lr_S, self._clip_S, self._step)
            self._step += self.steps_per_call
        self._state.loss.block_until_ready()

    def run_steps_per_second(self, seconds: float) -> float:
        """Runs x steps per second of the fastest call within `seconds`, after a warm-up."""
        self.warm_up()
        best, calls, end = float("inf"), 0, time.perf_counter() + seconds
        while calls < _MIN_CALLS or time.perf_counter() < end:
            begin = time.perf_counter()
            self.run(self.steps_per_call)
            best = min(best, time.perf_counter() - begin)
            calls += 1
        return self.steps_per_call * self.width / best

    def _many(self, state: _State, keys_S: jax.Array, lr_S: jax.Array, clip_S: jax.Array, first: int) -> _State:
        step = jax.vmap(self._one, in_axes=(0, 0, 0, 0, None))

        def body(state: _State, index: jax.Array) -> tuple[_State, None]:
            return step(state, keys_S, lr_S, clip_S, index), None

        last: _State = jax.lax.scan(body, state, first + jnp.arange(self.steps_per_call))[0]
        return last

    def _one(self, state: _State, key: jax.Array, lr: jax.Array, clip: jax.Array, index: jax.Array) -> _State:
        """One step of one run."""
        inputs, targets = self.problem.draw(jax.random.fold_in(key, index))
        value, gradients = jax.value_and_grad(
            lambda parameters: self.problem.loss(parameters, inputs, targets, self.choice.attention)
        )(state.parameters)
        if self.problem.optimiser.clip is not None:
            scale = jnp.minimum(1.0, clip / (optax.tree.norm(gradients) + 1e-6))
            gradients = jax.tree.map(lambda gradient: gradient * scale, gradients)
        parameters, optimiser = self._update(state.parameters, state.optimiser, gradients, lr)
        return _State(parameters, optimiser, value)
