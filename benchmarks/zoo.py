"""How much faster programs written from torch code train ordinary modules than an eager loop over the same modules.

Both sides train on one core, in turns: seedbed's program with its own draws, and a loop in PyTorch that draws random
tokens and targets, the cheapest batch there is. `python -m benchmarks.zoo` writes
benchmarks/results/zoo.json, the table in docs/compiler.md and what docs/speed.md says of it.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.bench import write_speed_page
from benchmarks.measure import compared
from benchmarks.peers.eager import ENVIRONMENT
from pipeline.codegen.generated import generated_or_why
from pipeline.engine.block import Block
from pipeline.engine.program import compiled_engine_of
from pipeline.own_code.imported import load, resolved
from pipeline.planning.open_sweep import processor
from pipeline.spec.run_config import RunConfig
from pipeline.spec.sweep import SweepSpec

_ROOT = Path(__file__).resolve().parents[1]
_ZOO, _PAGE = _ROOT / "tests" / "zoo" / "modules.py", _ROOT / "docs" / "compiler.md"
_RESULTS = _ROOT / "benchmarks" / "results" / "zoo.json"
_BATCH = 64
_NUM_PAIRS = 7
_LOOKUP = {"name": "dictionary_lookup", "num_keys": 8, "num_values": 8, "num_pairs": 8}
_SEQUENCE = {"name": "repeated_sequence", "num_tokens": 16, "period": 8}
_REGRESSION = {"name": "linear_regression", "dim": 6, "num_pairs": 9}
# Name -> task, model.
ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "GPT-2, two blocks, width 16": (_SEQUENCE, {"name": "zoo_everywhere", "width": 16}),
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


@dataclass(frozen=True)
class Measured:
    """One row: steps per second of a run on one core, and their ratio with its 95% interval over pairs."""

    name: str
    num_parameters: int
    lines: int
    compile_s: float
    program: float
    eager: float
    ratio: float
    low: float
    high: float
    num_pairs: int


def run_of(name: str) -> RunConfig:
    """A run of a row."""
    load(resolved(str(_ZOO), Path()))
    task, model = ROWS[name]
    spec = {
        "name": "zoo",
        "task": task,
        "model": model,
        "optimiser": {"name": "adamw", "lr": 1e-3, "clip": 1.0},
        "batch_size": _BATCH,
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
            inputs = torch.randn(_BATCH, shape.length, shape.size, generator=self._generator)
            answers = self._module(inputs)
            return nn.functional.mse_loss(answers, torch.randn(answers.shape, generator=self._generator))
        inputs = torch.randint(shape.size, (_BATCH, shape.length), generator=self._generator)
        targets = torch.randint(shape.num_outputs, (_BATCH * asked,), generator=self._generator)
        answers = self._module(inputs)
        answers = answers[:, -asked:].flatten(0, 1) if answers.dim() == 3 else answers
        return nn.functional.cross_entropy(answers, targets)


def measured(name: str, core: int = 0) -> Measured:
    """One row, measured now."""
    config = run_of(name)
    text = generated_or_why(config.model, config.task.shape(), config.dtype).text
    assert text is not None, f"no C++ is written for {name}"
    begin = time.perf_counter()
    compiled_engine_of(config)
    compile_s = time.perf_counter() - begin
    pairs = compared(ProgramSide(name), EagerSide(name), [core], _NUM_PAIRS, round_s=0.5)
    low, high = pairs.interval()
    program, eager = pairs.medians
    specs = config.model.parameter_specs(config.task.shape())
    count = sum(spec.rows * spec.columns for spec in specs)
    lines = len(text.splitlines())
    return Measured(name, count, lines, compile_s, program, eager, pairs.ratio, low, high, _NUM_PAIRS)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| module | parameters | lines of C++ | compiled in, s | steps per second | eager loop | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = f"{row['ratio']:.1f}x ({row['low']:.1f} to {row['high']:.1f})"
        lines.append(
            f"| {row['name']} | {row['num_parameters']:,} | {row['lines']:,} | {row['compile_s']:.0f} | "
            f"{row['program']:,.0f} | {row['eager']:,.0f} | {ratio} |"
        )
    return "\n".join(lines)


def write(rows: list[dict[str, Any]], about: str) -> None:
    """Keep the rows, and put them into the page between its marks."""
    _RESULTS.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    begin, end = "<!-- zoo: begin -->", "<!-- zoo: end -->"
    before, _, rest = _PAGE.read_text().partition(begin)
    _, _, after = rest.partition(end)
    _PAGE.write_text(f"{before}{begin}\n\n{table(rows)}\n\n{about}\n\n{end}{after}")
    write_speed_page()


def main() -> None:
    """Measure every row."""
    found = []
    with tempfile.TemporaryDirectory() as cache:
        # So that every program is compiled anew.
        os.environ["XDG_CACHE_HOME"] = cache
        for name in ROWS:
            found.append(asdict(measured(name)))
            print(found[-1], flush=True)
    version = torch.__version__
    about = (
        f"One core of {processor()}, torch {version}; batches of {_BATCH}; medians of {_NUM_PAIRS} pairs measured in "
        "turns, with 95% intervals over pairs. The compile time is of a machine with nothing else to do."
    )
    write(found, about)


if __name__ == "__main__":
    main()
