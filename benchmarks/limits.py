"""Profile of a compiled training step by stage, with the arithmetic and random draws that it needs."""

from __future__ import annotations

import ctypes
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.bench import INSTRUCTION_SETS, by_instruction_set, provenance_of, stored_at
from benchmarks.measure import alone
from benchmarks.seedbed_side import ENVIRONMENT, SeedbedSide
from benchmarks.throughput import best_time, product_rate
from benchmarks.workloads import WORKLOADS, Lookup, RegressionWorkload, TokenWorkload, Workload, configs_of
from pipeline.engine.block import Block
from pipeline.engine.compiled_engine import arrays_of
from pipeline.engine.examples import Sampled
from pipeline.engine.program import compiled_engine_of, preamble_of, written_headers
from pipeline.engine.program_arguments import ProgramArguments
from pipeline.numerics.compiler import compiled, instruction_sets

_SOURCE = str(Path(__file__).with_name("stages.cpp"))
_PEAK_ROUNDS = 2_000_000
# As many as stages.cpp has.
_CHAINS = 12
_ADDITIONS = 8
PAGE = Path(__file__).parents[1] / "docs" / "speed.md"
_BEGIN, _END = "<!-- measured: begin -->", "<!-- measured: end -->"


def main() -> None:
    """Profile the steps of all workloads, and write JSON and the table of docs/speed.md."""
    core = min(os.sched_getaffinity(0))
    found = {name: alone(partial(study, name), core, ENVIRONMENT) for name in WORKLOADS}
    for name, row in found.items():
        row["us_by_instruction_set"] = {
            level: alone(partial(step_us, name, level), core, ENVIRONMENT) for level in INSTRUCTION_SETS
        }
    rates = alone(_rates, core, ENVIRONMENT)
    document = {"rates": rates, "workloads": found, "measured": provenance_of(0)}
    stored_at("limits", instruction_sets()[0]).write_text(json.dumps(document, indent=1) + "\n")
    write_page(read())
    print("\n".join(lines(document)))


def read() -> list[dict[str, Any]]:
    """The stored measurements, those of machines with the largest instruction set first."""
    return by_instruction_set("limits")


def study(name: str) -> dict[str, Any]:
    """Microseconds of each stage of one run's step on one core, and what the step needs."""
    torch.set_num_threads(1)
    workload = WORKLOADS[name]
    block = _compiled_block(workload)
    assert block is not None
    library = compiled(_SOURCE, preamble_of(block.template) or "", texts=written_headers(block.template))
    assert library is not None
    arrays = ctypes.byref(arrays_of(block, ProgramArguments.of(block.template), Sampled(block).keys))
    steps = max(1, int(0.02 / best_time(lambda: block.train(1), 0.2)))

    def stage(index: int) -> float:
        call = partial(library.seedbed_stage, arrays, ctypes.c_int64(index), ctypes.c_int64(steps))
        return 1e6 * best_time(call, 1.0) / steps

    draws, forward, gradient = (stage(index) for index in range(3))
    whole = 1e6 * best_time(lambda: block.train(steps), 1.0) / steps
    row = block.layout.row_width
    return {
        "us": {
            "draws": draws,
            "forward": forward - draws,
            "loss and backward": gradient - forward,
            "clipping and optimiser": whole - gradient,
            "whole step": whole,
        },
        **needs(workload),
        "state_kib": row * 4 * (2 + len(block.optimiser.moments)) / 1024,
    }


def step_us(name: str, instruction_set: str) -> float | None:
    """Microseconds of one run's step by the program for an instruction set; None where this machine lacks that."""
    torch.set_num_threads(1)
    block = _compiled_block(WORKLOADS[name], instruction_set)
    if block is None:
        return None
    steps = max(1, int(0.02 / best_time(lambda: block.train(1), 0.2)))
    return 1e6 * best_time(lambda: block.train(steps), 1.0) / steps


def _compiled_block(workload: Workload, instruction_set: str | None = None) -> Block | None:
    """A block of one run, which planning would leave to torch: compiling would not pay."""
    engine = compiled_engine_of(configs_of(workload, 1)[0], instruction_set)
    return None if engine is None else SeedbedSide(workload, 1, engine).start().block


def needs(workload: Workload) -> dict[str, float]:
    """Multiply-adds of matrix products (three times the forward pass's) and 32-bit words drawn in one step."""
    batch = workload.batch_size
    if isinstance(workload, RegressionWorkload):
        dim, pairs = workload.task.dim, workload.task.num_pairs
        size = dim + 1
        # y = w x of every token; two products with every context token, forward; four of them and an outer one, back.
        example = size * dim + 2 * pairs * size + 2 * pairs * size + 2 * size * size
        return {"multiply_adds": float(batch * example), "words": float(batch * ((pairs + 1) * dim + dim))}
    assert isinstance(workload, TokenWorkload)
    task, model = workload.task, workload.model
    length, width, inner = task.length, model.width, model.inner
    whole = length * (4 * width * inner + 2 * width * model.mlp_width) + length * (length + 1) * inner
    asked = length if task.asks_everywhere else 1
    # The last layer at the last position alone: query, output and MLP once, scores and mean over the context.
    single = 4 * width * inner + 2 * length * width * model.num_heads + 2 * width * model.mlp_width
    last = whole if task.asks_everywhere else single
    forward = (model.num_layers - 1) * whole + last + asked * width * task.num_outputs
    words = task.num_pairs + task.num_keys + 1 if isinstance(task, Lookup) else task.period
    return {"multiply_adds": 3.0 * batch * forward, "words": float(batch * words)}


def _rates() -> dict[str, float]:
    """Peak rates of this core: multiply-adds per second on registers, torch's in a large product; and its clock."""
    torch.set_num_threads(1)
    block = _compiled_block(WORKLOADS["lookup_a"])
    assert block is not None
    library = compiled(_SOURCE, preamble_of(block.template) or "", texts=written_headers(block.template))
    assert library is not None
    library.seedbed_peak.restype = ctypes.c_double
    call = partial(library.seedbed_peak, ctypes.c_int64(_PEAK_ROUNDS))
    registers = _PEAK_ROUNDS * _CHAINS * library.seedbed_lanes() / best_time(call, 1.0)
    added = best_time(partial(library.seedbed_additions, ctypes.c_int64(_PEAK_ROUNDS)), 0.2)
    return {
        "registers_multiply_adds_per_s": registers,
        "product_multiply_adds_per_s": product_rate() / 2,
        "clock_hz": _PEAK_ROUNDS * _ADDITIONS / added,
    }


def lines(document: dict[str, Any]) -> list[str]:
    """Lines of a Markdown table."""
    rates, measured = document["rates"], document["measured"]
    registers, clock = rates["registers_multiply_adds_per_s"], rates.get("clock_hz")
    cycles = "" if clock is None else f", which is {registers / clock:.0f} a cycle of {clock / 1e9:.2f} GHz"
    stages = ("draws", "forward", "loss and backward", "clipping and optimiser", "whole step")
    found = [
        f"One core of {measured['hardware']['processor']}, {measured['versions']['compiler']}, {measured['at'][:10]}: "
        f"{registers / 1e9:.0f} G multiply-adds per second on registers{cycles}; "
        f"{rates['product_multiply_adds_per_s'] / 1e9:.0f} G in torch's product of 1024 x 1024 matrices. "
        f"Microseconds of one run's step:",
        "",
        "| workload | " + " | ".join(stages) + " | million multiply-adds needed | share of the product's rate | "
        "of the registers' | thousand words drawn | state, KiB |",
        "|" + "---|" * (len(stages) + 6),
    ]
    for name, row in document["workloads"].items():
        rate = row["multiply_adds"] / (1e-6 * row["us"]["whole step"])
        times = " | ".join(_us(row["us"][stage]) for stage in stages)
        found.append(
            f"| {name} | {times} | {row['multiply_adds'] / 1e6:.3g} | "
            f"{rate / rates['product_multiply_adds_per_s']:.0%} | "
            f"{rate / registers:.0%} | {row['words'] / 1e3:.3g} | {row['state_kib']:.0f} |"
        )
    sets = {name: row.get("us_by_instruction_set", {}) for name, row in document["workloads"].items()}
    levels = [level for level in INSTRUCTION_SETS if any(us.get(level) is not None for us in sets.values())]
    if not levels:
        return found
    found += [
        "",
        "Microseconds of the whole step by the program for each instruction set that it has (v4: vectors of 512 bits; "
        "v3: 256; the last: 128, without fused multiply-adds):",
        "",
        "| workload | " + " | ".join(levels) + " |",
        "|" + "---|" * (len(levels) + 1),
    ]
    found += [f"| {name} | " + " | ".join(_us(us[level]) for level in levels) + " |" for name, us in sets.items()]
    return found


def _us(time: float) -> str:
    return f"{time:,.0f}" if time >= 1000 else f"{time:.3g}"


def write_page(documents: list[dict[str, Any]]) -> None:
    """Put the tables into docs/speed.md."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    tables = [line for document in documents for line in (*lines(document), "")]
    PAGE.write_text("\n".join([before + _BEGIN, "", *tables, _END + after]))


if __name__ == "__main__":
    main()
