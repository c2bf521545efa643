"""How much faster programs written from torch code train ordinary modules than PyTorch and JAX train the same ones.

Both sides train on one core, in turns: seedbed's program with its own draws, and a loop in PyTorch, or runs side by
side in JAX, with random tokens and targets, the cheapest batch there is. `python -m benchmarks.zoo [ROW ...]` writes
the machine's file in benchmarks/results, the tables in docs/compiler.md and what docs/speed.md says of them.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.bench import by_instruction_set, read, stored_at, write_speed_page
from benchmarks.measure import alone, compared
from benchmarks.zoo.sides import BATCH, ROWS, ROWS_WITHOUT_NOISE, EagerSide, ProgramSide, problem_of, run_of
from pipeline.codegen.generated import generated_or_why
from pipeline.engine.program import compiled_engine_of
from pipeline.numerics.compiler import instruction_sets
from pipeline.numerics.processor import processor

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "compiler.md"
_NUM_PAIRS = 7


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


@dataclass(frozen=True)
class BesideJax:
    """JAX's steps per second for a row, the program's ratio to them with its 95% interval, what was tuned, and when."""

    jax: float
    jax_ratio: float
    jax_low: float
    jax_high: float
    jax_choice: str
    jax_on: str
    jax_version: str


def measured(name: str, core: int = 0) -> Measured:
    """One row beside the eager loop, measured now."""
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


def beside_jax(name: str, core: int = 0) -> BesideJax | None:
    """One row beside JAX, tuned and measured now; None where JAX is not installed, and of a row with dropout."""
    if name not in ROWS_WITHOUT_NOISE:
        return None
    try:
        from benchmarks.peers.jax_vmap import JaxSide
    except ImportError:
        return None
    side = JaxSide(problem_of(name))
    tuned = alone(side.tuned, core, side.environment)
    pairs = compared(ProgramSide(name), tuned, [core], _NUM_PAIRS, round_s=0.5)
    medians, today = pairs.medians, str(date.today())
    return BesideJax(medians[1], pairs.ratio, *pairs.interval(), str(tuned.choice), today, version("jax"))


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| module | parameters | lines of C++ | compiled in, s | steps per second | eager loop | ratio | JAX | ratio |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = f"{row['ratio']:.1f}x ({row['low']:.1f} to {row['high']:.1f})"
        jax = "not measured | "
        if "jax" in row:
            jax = f"{row['jax']:,.0f} | {row['jax_ratio']:.1f}x ({row['jax_low']:.1f} to {row['jax_high']:.1f})"
        lines.append(
            f"| {row['name']} | {row['num_parameters']:,} | {row['lines']:,} | {row['compile_s']:.0f} | "
            f"{row['program']:,.0f} | {row['eager']:,.0f} | {ratio} | {jax} |"
        )
    return "\n".join(lines)


def write(rows: list[dict[str, Any]], about: str) -> None:
    """Keep the rows of this machine, and put those of all machines into the page between its marks."""
    _stored().write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    write_page()


def write_page() -> None:
    """The tables of docs/compiler.md and the sentences of docs/speed.md, from what is stored."""
    tables = "\n\n".join(f"{table(one['rows'])}\n\n{_about(one)}" for one in by_instruction_set("zoo"))
    begin, end = "<!-- zoo: begin -->", "<!-- zoo: end -->"
    before, _, rest = _PAGE.read_text().partition(begin)
    _, _, after = rest.partition(end)
    _PAGE.write_text(f"{before}{begin}\n\n{tables}\n\n{end}{after}")
    write_speed_page()


def main() -> None:
    """Measure the rows that are asked for, and keep the others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="which rows (default: all)")
    asked = parser.parse_args().rows or list(ROWS)
    about = (
        f"One core of {processor()}, {date.today()}, torch {torch.__version__}; batches of {BATCH}; "
        f"medians of {_NUM_PAIRS} pairs measured in turns, with 95% intervals over pairs. The compile time is of a "
        "machine with nothing else to do."
    )
    with tempfile.TemporaryDirectory() as cache:
        # So that every program is compiled anew.
        os.environ["XDG_CACHE_HOME"] = cache
        for name in asked:
            row = asdict(measured(name))
            _keep(row, about)
            # JAX takes minutes to compile some of them: what was measured before is kept if this is cut off.
            if (jax := beside_jax(name)) is not None:
                _keep(row | asdict(jax), about)


def _keep(row: dict[str, Any], about: str) -> None:
    """Write a row among those of this machine, in the place of an earlier one."""
    print(row, flush=True)
    kept = {one["name"]: one for one in read(_stored())["rows"]}
    # What JAX did stays until it is measured again: it takes minutes a row, and JAX may not be installed.
    beside = {field: value for field, value in kept.get(row["name"], {}).items() if field.startswith("jax")}
    kept[row["name"]] = beside | row
    write([kept[name] for name in ROWS if name in kept], about)


def _stored() -> Path:
    return stored_at("zoo", instruction_sets()[0])


def _about(one: dict[str, Any]) -> str:
    """What was measured where and when; JAX may be of other days than the rest."""
    beside = sorted({f"{row['jax_on']} (jax {row['jax_version']})" for row in one["rows"] if "jax" in row})
    return one["about"] + (f" JAX beside the programs of {', '.join(beside)}." if beside else "")


if __name__ == "__main__":
    main()
