"""Choice of a pack's engine and number of slots, from measurements passed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.spec.run_config import RunConfig
from pipeline.spec.sections import Resources
from pipeline.store.pack_store import StoreError

# Numbers of slots that are timed on the torch engine, and the default without timings.
CANDIDATE_SLOTS = {"cpu": (1, 4, 16, 64), "cuda": (64, 256, 1024, 4096)}
_UNMEASURED = {"cpu": 16, "cuda": 512}
# Results do not depend on the number of slots of a compiled program. Enough to amortise what a chunk costs besides its
# steps, few enough that a chunk takes about 0.5 s, after which a pack can commit or leave.
_COMPILED_SLOTS = 128
_CHUNK_S = 0.5
_FLOPS = 5e10


@dataclass(frozen=True)
class Calibration:
    """Engine and speeds of the runs of one static setting on a machine, determined before planning.

    `engine` is the toolchain of the compiled program, as in the numerics; None means the torch engine, for the reason
    in `why_torch`. `speeds` maps a number of slots to run-steps per second of the torch engine;
    it is empty where nothing was timed. `why_device` says why the device was chosen, empty where there was no choice.
    `why_drawn` says why torch draws the examples of a compiled program, empty where that does.
    """

    engine: str | None = None
    why_torch: str = ""
    speeds: Mapping[int, float] = field(default_factory=dict)
    why_device: str = ""
    why_drawn: str = ""


@dataclass(frozen=True)
class EngineChoice:
    """`engine` and `slots` of a pack's numerics, and the reason in words."""

    engine: str
    slots: int
    reason: str


def may_be_compiled(resources: Resources, device: str) -> bool:
    """Whether compiled programs are possible: on CPUs, in plain float arithmetic, unless the spec requires torch."""
    return device == "cpu" and resources.engine != "torch" and resources.matmul_precision == "float32"


def needs_timing(most_runs: int, resources: Resources, device: str) -> bool:
    """Whether the slots of torch blocks are to be chosen by their speed, for packs of at most `most_runs` runs."""
    return resources.slots is None and most_runs > CANDIDATE_SLOTS[device][0]


def choose(
    config: RunConfig, most_runs: int, chunk: int, resources: Resources, device: str, calibration: Calibration
) -> EngineChoice:
    """Engine and slots for the runs of one static setting, such as `config`; a pack holds at most `most_runs`.

    Raises StoreError where resources ask for a compiled program and there can be none.
    """
    choice = _chosen(config, most_runs, chunk, resources, device, calibration)
    reason = "; ".join(filter(None, (choice.reason, calibration.why_device)))
    return EngineChoice(choice.engine, choice.slots, reason)


def _chosen(
    config: RunConfig, most_runs: int, chunk: int, resources: Resources, device: str, calibration: Calibration
) -> EngineChoice:
    compiled, own = calibration.engine, config.model.own_engine()
    if own is not None:
        if resources.engine == "compiled":
            raise StoreError(f"resources.engine is compiled, and {own} trains these runs; leave it at auto")
        return EngineChoice(own, 1, f"{own}: one slot, since a Trainer trains one run at a time")
    if resources.engine == "compiled" and compiled is None:
        raise StoreError(f"resources.engine is compiled, but {_why(calibration)}; leave it at auto")
    drawn = f"; torch draws its examples: {calibration.why_drawn}" if calibration.why_drawn else ""
    how = f"compiled{drawn}" if compiled is not None else f"torch engine: {_why(calibration)}"
    if resources.slots is not None:
        return EngineChoice(compiled or "torch", resources.slots, f"{how}; slots as the sweep file says")
    if compiled is not None:
        slots = min(_compiled_slots(config, chunk), most_runs)
        return EngineChoice(
            compiled,
            slots,
            f"{how}; results do not depend on the number of slots, which is chosen for chunks of about 0.5 s",
        )
    if not needs_timing(most_runs, resources, device):
        return EngineChoice("torch", most_runs, f"{how}; a slot for every run")
    if not calibration.speeds:
        slots = min(_UNMEASURED[device], most_runs)
        return EngineChoice("torch", slots, f"{how}; slots not measured: no {device} here")
    speeds = usable_speeds(most_runs, calibration.speeds)
    slots = max(speeds, key=lambda slots: speeds[slots])
    figures = ", ".join(f"{slots}: {speed:,.0f}" for slots, speed in speeds.items())
    return EngineChoice("torch", slots, f"{how}; slots by the fastest run-steps per second ({figures})")


def usable_speeds(most_runs: int, timed: Mapping[int, float]) -> dict[int, float]:
    """Slots -> run-steps per second: the timed numbers up to `most_runs`, and that one itself if more were timed."""
    found = {slots: speed for slots, speed in timed.items() if slots <= most_runs}
    if found and most_runs < max(timed):
        found[most_runs] = _speed(most_runs, timed)
    return found


def _speed(slots: int, timed: Mapping[int, float]) -> float:
    """Run-steps per second of so many slots: as timed, or with the time of a step linear between the next two."""
    if slots in timed:
        return timed[slots]
    below, above = max(n for n in timed if n < slots), min(n for n in timed if n > slots)
    below_s, above_s = below / timed[below], above / timed[above]
    return slots / (below_s + (above_s - below_s) * (slots - below) / (above - below))


def _why(calibration: Calibration) -> str:
    return calibration.why_torch or "it was not tried whether this has a compiled form"


def run_step_s(config: RunConfig, slots: int, calibration: Calibration) -> float:
    """Expected seconds of a step of one run in a block of so many slots: as timed, or by the number of parameters."""
    timed = calibration.speeds
    if calibration.engine is None and timed and min(timed) <= slots <= max(timed):
        return 1 / _speed(slots, timed)
    return _counted_s(config)


def _compiled_slots(config: RunConfig, chunk: int) -> int:
    """Slots from the number of parameters alone, so equal on every machine."""
    return max(1, min(_COMPILED_SLOTS, int(_CHUNK_S / (chunk * _counted_s(config)))))


def _counted_s(config: RunConfig) -> float:
    """Seconds of a step of one run, from 6 operations per parameter and token."""
    task_shape = config.task.shape()
    specs = config.model.parameter_specs(task_shape)
    num_parameters = sum(spec.rows * spec.columns for spec in specs)
    return 6 * num_parameters * config.batch_size * task_shape.length / _FLOPS
