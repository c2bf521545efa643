"""Which engine computes a pack, and how many slots its block has: decided from measurements that are handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.spec.run_config import RunConfig
from pipeline.spec.sections import Resources
from pipeline.store.pack_store import StoreError

# Widths that are timed on the torch engine, and the width that is taken where none was.
CANDIDATE_WIDTHS = {"cpu": (1, 4, 16, 64), "cuda": (64, 256, 1024, 4096)}
_UNMEASURED = {"cpu": 16, "cuda": 512}
# Results do not depend on the width of a compiled program. Wide enough to amortise what a chunk costs besides its
# steps, narrow enough that a chunk takes about 0.5 s, after which a pack can commit or leave.
_COMPILED_WIDTH = 128
_CHUNK_S = 0.5
_FLOPS = 5e10


@dataclass(frozen=True)
class Calibration:
    """What a machine can do with the runs of one static setting, as found out before planning.

    `mode` is that of numerics for its compiled program; None where it is computed by the torch engine, and then
    `why_torch` says why in words. `speeds` maps width to runs x steps per second of the torch engine; it is empty
    where nothing was timed.
    """

    mode: str | None = None
    why_torch: str = ""
    speeds: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class EngineChoice:
    """`mode` and `width` of a pack's numerics, and in words why."""

    mode: str
    width: int
    reason: str


def may_be_compiled(resources: Resources, device: str) -> bool:
    """Whether compiled programs come into question: on CPUs, in plain float arithmetic, unless torch is asked for."""
    return device == "cpu" and resources.mode != "eager" and resources.products == "float32"


def needs_timing(most_runs: int, resources: Resources, device: str) -> bool:
    """Whether the width of torch blocks is to be chosen by their speed, for packs of at most `most_runs` runs."""
    return resources.width is None and most_runs > CANDIDATE_WIDTHS[device][0]


def choose(
    config: RunConfig, most_runs: int, chunk: int, resources: Resources, device: str, calibration: Calibration
) -> EngineChoice:
    """For runs of one static setting, such as `config`, of which a pack holds `most_runs` at most.

    Raises StoreError where resources ask for a compiled program and there can be none.
    """
    mode = calibration.mode
    if resources.mode == "native" and mode is None:
        raise StoreError(f"resources.mode is native, but {_why(calibration)}; leave it at auto")
    engine = "compiled" if mode is not None else f"torch engine: {_why(calibration)}"
    if resources.width is not None:
        return EngineChoice(mode or "eager", resources.width, f"{engine}; width as the sweep file says")
    if mode is not None:
        width = min(_compiled_width(config, chunk), most_runs)
        return EngineChoice(
            mode, width, "compiled; the width moves no bit and is chosen for chunks of about half a second"
        )
    if not needs_timing(most_runs, resources, device):
        return EngineChoice("eager", most_runs, f"{engine}; as wide as there are runs")
    if not calibration.speeds:
        return EngineChoice(
            "eager", min(_UNMEASURED[device], most_runs), f"{engine}; width not measured: no {device} here"
        )
    speeds = calibration.speeds
    width = max((width for width in speeds if width <= most_runs), key=lambda width: speeds[width])
    figures = ", ".join(f"{width}: {speed:,.0f}" for width, speed in speeds.items())
    return EngineChoice("eager", width, f"{engine}; the fastest of these widths in runs x steps per second ({figures})")


def _why(calibration: Calibration) -> str:
    return calibration.why_torch or "it was not tried whether this has a compiled form"


def _compiled_width(config: RunConfig, chunk: int) -> int:
    """From the parameters alone, so that it is the same everywhere: 6 operations for a parameter and token."""
    task_shape = config.task.shape()
    specs = config.model.parameter_specs(task_shape)
    num_parameters = sum(spec.rows * spec.columns for spec in specs)
    chunk_s = chunk * 6 * num_parameters * config.batch_size * task_shape.length / _FLOPS
    return max(1, min(_COMPILED_WIDTH, int(_CHUNK_S / chunk_s)))
