"""How a pack is computed: compiled or eager, and how wide; measured where it matters, and remembered."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.engine.program import native_mode, why_torch
from pipeline.spec.identity import canonical_json
from pipeline.store.pack_store import StoreError

if TYPE_CHECKING:
    from pipeline.spec.run_config import RunConfig
    from pipeline.spec.sections import Resources

# Compiled programs train run by run, so the width moves no bit and hardly any speed: as wide as fades what a chunk
# costs around its steps, and as narrow as lets a pack be looked at, and left, about twice a second.
_NATIVE_WIDTH = 128
_CHUNK_S = 0.5
_FLOPS = 5e10
_CANDIDATES = {"cpu": (1, 4, 16, 64), "cuda": (64, 256, 1024, 4096)}
_UNMEASURED = {"cpu": 16, "cuda": 512}
_TIMED_S = 0.3
# Of a device's free memory, what a block may take by extrapolation from a narrow one.
_MEMORY_SHARE = 0.7


@dataclass(frozen=True)
class Choice:
    """`mode` and `width` of a pack's numerics, and in words why."""

    mode: str
    width: int
    reason: str


def choose(
    config: RunConfig, most_runs: int, chunk: int, resources: Resources, device: str, torch_version: str, program: str
) -> Choice:
    """For runs of one static setting, of which a pack holds `most_runs` at most.

    Raises StoreError where resources ask for a compiled program and there can be none.
    """
    may_compile = device == "cpu" and resources.mode != "eager" and resources.products == "float32"
    mode = native_mode(config) if may_compile else None
    why = why_torch(config) if may_compile else None
    if resources.mode == "native" and mode is None:
        raise StoreError(
            "resources.mode is native: that needs g++, a CPU, and a task, model, optimiser and schedule that have a "
            f"compiled form (here: {why or 'all of them have one'}, on {device}, products in {resources.products}); "
            "leave it at auto"
        )
    how = "compiled" if mode is not None else "eager" if why is None else f"eager ({why})"
    if resources.width is not None:
        return Choice(mode or "eager", resources.width, f"{how}, width as the sweep file says")
    if mode is not None:
        width = min(_native_width(config, chunk), most_runs)
        return Choice(mode, width, "compiled: the width moves no bit; here a chunk takes half a second or so")
    if most_runs <= _CANDIDATES[device][0]:
        return Choice("eager", most_runs, f"{how}, as wide as there are runs")
    speeds = _remembered(config, resources.threads, device, torch_version, program)
    if not speeds:
        return Choice("eager", min(_UNMEASURED[device], most_runs), f"{how}, width not measured: no such device here")
    width = max((width for width in speeds if width <= most_runs), key=lambda width: speeds[width])
    figures = ", ".join(f"{width}: {speed:,.0f}" for width, speed in speeds.items())
    return Choice("eager", width, f"{how}, fastest of these widths in runs x steps per second ({figures})")


def _native_width(config: RunConfig, chunk: int) -> int:
    """From the parameters alone, so that it is the same everywhere: 6 operations for a parameter and token."""
    interface = config.task.interface()
    specs = config.model.parameter_specs(interface)
    num_parameters = sum(spec.rows * spec.columns for spec in specs)
    chunk_s = chunk * 6 * num_parameters * config.batch_size * interface.length / _FLOPS
    return max(1, min(_NATIVE_WIDTH, int(_CHUNK_S / chunk_s)))


def _remembered(config: RunConfig, threads: int, device: str, torch_version: str, program: str) -> dict[int, float]:
    """Width -> runs x steps per second, from the user's cache folder or measured now; empty where it cannot be."""
    setting = json.dumps([config.static_key(), threads, device, torch_version, program, _processor()])
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "seedbed"
    path = folder / f"widths-{hashlib.sha256(setting.encode()).hexdigest()[:20]}.json"
    try:
        known = {int(width): float(speed) for width, speed in json.loads(path.read_text()).items()}
        return dict(sorted(known.items()))
    except (OSError, ValueError):
        pass
    speeds = _measured(config, threads, device)
    if speeds:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = path.with_suffix(f".{os.getpid()}")
        scratch.write_text(canonical_json({str(width): speed for width, speed in speeds.items()}))
        scratch.rename(path)
    return speeds


def _measured(config: RunConfig, threads: int, device: str) -> dict[int, float]:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        return {}
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return _speeds(config, torch.device(device))
    finally:
        torch.set_num_threads(threads_before)


def _speeds(config: RunConfig, device: Any) -> dict[int, float]:
    import torch

    from pipeline.engine.block import Block

    speeds: dict[int, float] = {}
    for width in _CANDIDATES[device.type]:
        if device.type == "cuda" and speeds and _would_not_fit(width, list(speeds)[-1]):
            break
        block = Block(config, width, device)
        block.train(2)
        _wait(device)
        started, num_steps = time.perf_counter(), 0
        while time.perf_counter() - started < _TIMED_S:
            block.train(1)
            num_steps += 1
            _wait(device)
        speeds[width] = width * num_steps / (time.perf_counter() - started)
        del block
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return speeds


def _would_not_fit(width: int, measured_width: int) -> bool:
    import torch

    free, _ = torch.cuda.mem_get_info()
    return torch.cuda.max_memory_allocated() / measured_width * width > _MEMORY_SHARE * free


def _wait(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith("model name")), "")
