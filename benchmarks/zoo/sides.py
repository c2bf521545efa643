"""The rows of benchmarks.zoo, and how each side trains a module: a program of its text, PyTorch's loop, JAX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from benchmarks.peers.eager import ENVIRONMENT
from benchmarks.workloads import Adam
from pipeline.engine.block import Block
from pipeline.engine.program import compiled_engine_of
from pipeline.own_code.imported import load, resolved
from pipeline.spec.run_config import RunConfig
from pipeline.spec.sweep import SweepSpec

if TYPE_CHECKING:
    from benchmarks.peers.jax_problem import OfModule

_ZOO = Path(__file__).resolve().parents[2] / "tests" / "zoo" / "modules.py"
BATCH = 64
_LOOKUP = {"name": "dictionary_lookup", "num_keys": 8, "num_values": 8, "num_pairs": 8}
_SEQUENCE = {"name": "repeated_sequence", "num_tokens": 16, "period": 8}
_REGRESSION = {"name": "linear_regression", "dim": 6, "num_pairs": 9}
# Name -> task, model.
ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "GPT-2, two blocks, width 16": (_SEQUENCE, {"name": "zoo_everywhere", "width": 16}),
    "GPT-2, two blocks, width 16, dropout 0.1": (_SEQUENCE, {"name": "zoo_everywhere", "width": 16, "dropout": 0.1}),
    "GPT-2, two blocks, width 64": (_SEQUENCE, {"name": "zoo_everywhere", "width": 64}),
    "rotary block with SwiGLU, width 16": (_LOOKUP, {"name": "zoo", "kind": "rotary", "width": 16}),
    "MLP": (_LOOKUP, {"name": "zoo", "kind": "mlp", "width": 16}),
    "GRU": (_LOOKUP, {"name": "zoo", "kind": "gru", "width": 16}),
    "LSTM": (_LOOKUP, {"name": "zoo", "kind": "lstm", "width": 16}),
    "convnet over positions": (_LOOKUP, {"name": "zoo", "kind": "convolution", "width": 16}),
    "convnet on 8 x 8 pictures": (_REGRESSION, {"name": "zoo", "kind": "picture", "width": 8}),
    "linear attention": (_LOOKUP, {"name": "zoo", "kind": "linear_attention", "width": 16}),
    "mixture of two experts": (_LOOKUP, {"name": "zoo", "kind": "experts", "width": 16}),
    "MLP, width 128": (_LOOKUP, {"name": "zoo", "kind": "mlp", "width": 128}),
}
# Those that draw nothing in training, for JAX and as CUDA.
ROWS_WITHOUT_NOISE = [name for name, (_, model) in ROWS.items() if "dropout" not in model]


def run_of(name: str) -> RunConfig:
    """A run of a row."""
    load(resolved(str(_ZOO), Path()))
    task, model = ROWS[name]
    spec = {
        "name": "zoo",
        "task": task,
        "model": model,
        "optimiser": {"name": "adamw", "lr": 1e-3, "clip": 1.0},
        "batch_size": BATCH,
        "budget": 1000,
        "seeds": {"together": [0]},
        "tracking": {"mode": "disabled"},
    }
    return SweepSpec.model_validate(spec).runs()[0]


@dataclass(frozen=True)
class ProgramSide:
    """A run of a row in its compiled program."""

    name: str

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that its process must have from the start."""
        return ENVIRONMENT

    def start(self) -> ProgramRun:
        """The run, ready to train."""
        torch.set_num_threads(1)
        return ProgramRun(self.name)


class ProgramRun:
    """One slot of a block."""

    width = 1
    steps_per_call = 10

    def __init__(self, name: str) -> None:
        config = run_of(name)
        engine = compiled_engine_of(config)
        assert engine is not None, f"{name} has no program here"
        self._block = Block(config, 1, torch.device("cpu"), engine)
        self._block.load_run(0, config, self._block.start(config))

    def warm_up(self) -> None:
        """Not timed."""
        self.run(10)

    def run(self, num_steps: int) -> None:
        """Train for `num_steps` more steps."""
        self._block.train(num_steps)


@dataclass(frozen=True)
class EagerSide:
    """The same module in a training loop of PyTorch."""

    name: str

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that its process must have from the start."""
        return ENVIRONMENT

    def start(self) -> EagerRun:
        """The module, ready to train."""
        torch.set_num_threads(1)
        return EagerRun(self.name)


class EagerRun:
    """A module, torch's fused AdamW, clipping, and batches of random numbers."""

    width = 1
    steps_per_call = 1

    def __init__(self, name: str) -> None:
        config = run_of(name)
        self._shape = config.task.shape()
        self._module = config.model.module(self._shape)  # type: ignore[attr-defined]
        self._optimiser = torch.optim.AdamW(self._module.parameters(), lr=1e-3, fused=True)
        self._generator = torch.Generator().manual_seed(0)

    def warm_up(self) -> None:
        """Not timed."""
        self.run(20)

    def run(self, num_steps: int) -> None:
        """Train for `num_steps` more steps."""
        for _ in range(num_steps):
            loss = self._loss()
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self._module.parameters(), 1.0)
            self._optimiser.step()

    def _loss(self) -> torch.Tensor:
        shape, asked = self._shape, self._shape.num_query_positions
        if shape.kind == "vectors":
            inputs = torch.randn(BATCH, shape.length, shape.size, generator=self._generator)
            answers = self._module(inputs)
            return nn.functional.mse_loss(answers, torch.randn(answers.shape, generator=self._generator))
        inputs = torch.randint(shape.size, (BATCH, shape.length), generator=self._generator)
        targets = torch.randint(shape.num_outputs, (BATCH * asked,), generator=self._generator)
        answers = self._module(inputs)
        answers = answers[:, -asked:].flatten(0, 1) if answers.dim() == 3 else answers
        return nn.functional.cross_entropy(answers, targets)


def problem_of(name: str) -> OfModule:
    """A row as JAX trains it."""
    from benchmarks.peers.jax_problem import OfModule

    config = run_of(name)
    shape = config.task.shape()
    module = config.model.module(shape)  # type: ignore[attr-defined]
    return OfModule(
        kind=ROWS[name][1].get("kind", "everywhere"),
        shapes=tuple((name, tuple(one.shape)) for name, one in module.named_parameters()),
        is_tokens=shape.kind == "tokens",
        length=shape.length,
        size=shape.size,
        num_outputs=shape.num_outputs,
        batch_size=BATCH,
        optimiser=Adam(lr=1e-3, clip=1.0),
    )
