"""Profile of a compiled training step by stage, with the arithmetic and random draws that it needs."""

from __future__ import annotations

import ctypes
import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.bench import FOLDER, provenance_of
from benchmarks.measure import alone
from benchmarks.seedbed_side import ENVIRONMENT, SeedbedSide
from benchmarks.throughput import best_time, product_rate
from benchmarks.workloads import WORKLOADS, Lookup, RegressionWorkload, TokenWorkload, Workload
from pipeline.engine.compiled_engine import arrays_of
from pipeline.engine.examples import Sampled
from pipeline.engine.program import preamble_of, written_headers
from pipeline.engine.program_arguments import ProgramArguments
from pipeline.numerics.compiler import compiled

_SOURCE = str(Path(__file__).with_name("stages.cpp"))
_PEAK_ROUNDS = 2_000_000
# As many as stages.cpp has.
_CHAINS = 12
PAGE = Path(__file__).parents[1] / "docs" / "speed.md"
_BEGIN, _END = "<!-- measured: begin -->", "<!-- measured: end -->"


def main() -> None:
    """Profile the steps of all workloads, and write JSON and the table of docs/speed.md."""
    core = min(os.sched_getaffinity(0))
    found = {name: alone(partial(study, name), core, ENVIRONMENT) for name in WORKLOADS}
    rates = alone(_rates, core, ENVIRONMENT)
    document = {"rates": rates, "workloads": found, "measured": provenance_of(0)}
    (FOLDER / "limits.json").write_text(json.dumps(document, indent=1) + "\n")
    write_page(document)
    print("\n".join(lines(document)))


def read() -> dict[str, Any]:
    """The stored measurements."""
    found: dict[str, Any] = json.loads((FOLDER / "limits.json").read_text())
    return found


def study(name: str) -> dict[str, Any]:
    """Microseconds of each stage of one run's step on one core, and what the step needs."""
    torch.set_num_threads(1)
    workload = WORKLOADS[name]
    # A single run would not be worth compiling.
    runs = replace(SeedbedSide(workload, 1).planned(), width=1).start()
    block = runs.block
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
    """Peak rates of this core: multiply-adds per second on registers, torch's in a large product."""
    torch.set_num_threads(1)
    block = replace(SeedbedSide(WORKLOADS["lookup_a"], 1).planned(), width=1).start().block
    library = compiled(_SOURCE, preamble_of(block.template) or "", texts=written_headers(block.template))
    assert library is not None
    library.seedbed_peak.restype = ctypes.c_double
    call = partial(library.seedbed_peak, ctypes.c_int64(_PEAK_ROUNDS))
    registers = _PEAK_ROUNDS * _CHAINS * 16 / best_time(call, 1.0)
    return {"registers_multiply_adds_per_s": registers, "product_multiply_adds_per_s": product_rate() / 2}


def lines(document: dict[str, Any]) -> list[str]:
    """Lines of a Markdown table."""
    rates = document["rates"]
    stages = ("draws", "forward", "loss and backward", "clipping and optimiser", "whole step")
    found = [
        f"One core: {rates['registers_multiply_adds_per_s'] / 1e9:.0f} G multiply-adds per second on registers, "
        f"{rates['product_multiply_adds_per_s'] / 1e9:.0f} G in torch's product of 1024 x 1024 matrices. "
        f"Microseconds of one run's step, one core ({document['measured']['hardware']['processor']}, "
        f"{document['measured']['versions']['compiler']}):",
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
            f"{rate / rates['registers_multiply_adds_per_s']:.0%} | {row['words'] / 1e3:.3g} | {row['state_kib']:.0f} |"
        )
    return found


def _us(time: float) -> str:
    return f"{time:,.0f}" if time >= 1000 else f"{time:.3g}"


def write_page(document: dict[str, Any]) -> None:
    """Put the table into docs/speed.md."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    PAGE.write_text("\n".join([before + _BEGIN, "", *lines(document), "", _END + after]))


if __name__ == "__main__":
    main()
