"""What the CUDA kernels take that are written from torch modules: registers and memory, as NVRTC compiles them.

Nothing is run, and no GPU is needed. `python -m benchmarks.zoo.cuda` compiles the kernels of every row of
benchmarks.zoo, and writes benchmarks/results/cuda.json and the table in docs/compiler.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.zoo.sides import BATCH, ROWS_WITHOUT_NOISE, run_of
from pipeline.codegen.cuda.nvrtc import ARCHITECTURE, compile_cuda, nvrtc_version
from pipeline.engine.cuda_program import kernel_text, threads_of

_ROOT = Path(__file__).resolve().parents[2]
PAGE = _ROOT / "docs" / "compiler.md"
KEPT = _ROOT / "benchmarks" / "results" / "cuda.json"
_BEGIN, _END = "<!-- cuda: begin -->", "<!-- cuda: end -->"


def compiled_row(name: str) -> dict[str, Any]:
    """What the kernel takes that trains a row of the zoo."""
    config = run_of(name)
    text = kernel_text(config)
    found = compile_cuda(text)
    kernel = found.kernels["seedbed_train"]._asdict() | {"name": name}
    sizes = {"lines": len(text.splitlines()), "cubin_bytes": len(found.cubin), "spill_bytes": found.spill_bytes}
    return kernel | {"threads": threads_of(config)} | sizes


def cuda_table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| module | threads | registers | local memory, kB | shared memory, kB | spilled, bytes |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        local, shared = (f"{row[f'{kind}_bytes'] / 1000:.1f}" for kind in ("local", "shared"))
        cells = row["name"], row["threads"], row["registers"], local, shared, f"{row['spill_bytes']:,}"
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def with_cuda(page: str, kept: dict[str, Any]) -> str:
    """The page with the table between its marks."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n\n{cuda_table(kept['rows'])}\n\n{kept['about']}\n\n{_END}{after}"


def main() -> None:
    """Compile every row."""
    rows = []
    for name in ROWS_WITHOUT_NOISE:
        rows.append(compiled_row(name))
        print(rows[-1], flush=True)
    about = f"Of the kernel that trains, batches of {BATCH}, as NVRTC {nvrtc_version()} compiles it for {ARCHITECTURE}."
    KEPT.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    PAGE.write_text(with_cuda(PAGE.read_text(), {"about": about, "rows": rows}))


if __name__ == "__main__":
    main()
