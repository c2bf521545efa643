"""The table of docs/speed.md on sweeps of many runs: what they cost beside their training, from the kept stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

_HEAD = ("| what | runs | cost | measured |", "|---|---|---|---|")
# Stage -> the numbers of runs that are shown, what it is, and its figures in words.
_STAGES: dict[str, tuple[tuple[int, ...], str, Callable[[Mapping[str, float]], str]]] = {
    "plan": (
        (1_000_000,),
        "plan: expand, pack and write",
        lambda found: (
            f"{found['plan_s']:.1f} s of processor time, {found['plan_mib']:,.0f} MiB of memory; the documents take "
            f"{found['document_mib']:.0f} MiB"
        ),
    ),
    "status": ((1_000_000,), "`status`", lambda found: f"{found['status_s']:.2f} s of processor time"),
    "lsa": (
        (2_000,),
        "training, beside the steps of lsa_256 with batches of 32, 200 a run",
        lambda found: (
            f"{found['bookkeeping_ms_a_run']:.2f} ms of processor time a run; its steps take "
            f"{found['train_ms_a_run']:.2f}, probes {found['probe_ms_a_run']:.2f}"
        ),
    ),
    "stored": (
        (100_001,),
        "results folder",
        lambda found: (
            f"{found['bytes_a_run']:,.0f} bytes a run, {found['files_per_1000_runs']:.0f} files per 1,000 runs"
        ),
    ),
    "weights": (
        (20_000,),
        "last weights of all runs, read as one array",
        lambda found: f"{found['weights_s']:.1f} s of processor time",
    ),
    "analyse": (
        (10_000, 100_000),
        "`analyse`",
        lambda found: (
            f"{found['analyse_s']:.0f} s of processor time, {found['analyse_wall_s']:.0f} s by the clock on two cores, "
            f"{found['analyse_peak_mib']:,.0f} MiB of memory"
        ),
    ),
}


def large_sweep_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of Markdown for the `rows` of scale.json, each the newest measurement of its stage and number of runs."""
    newest = {(row["stage"], row["runs"]): row for row in sorted(rows, key=lambda row: row["measured"]["at"])}
    lines = [*_HEAD]
    for stage, (sizes, what, in_words) in _STAGES.items():
        for num_runs in sizes:
            if (row := newest.get((stage, num_runs))) is not None:
                measured = row["measured"]
                where = f"{measured['hardware']['processor']}, {measured['at'][:10]}, load {measured['load']:.1f}"
                lines.append(f"| {what} | {num_runs:,} | {in_words(row['found'])} | {where} |")
    return lines
