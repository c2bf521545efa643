"""Choice between the GPUs and the CPUs of a machine, from measurements passed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Throughput:
    """The runs of one static setting: `run_steps` in all, and how many a second all GPUs take, or all CPUs.

    `by_gpus` is None where this computer has none to measure.
    """

    run_steps: float
    by_gpus: float | None
    by_cpus: float


@dataclass(frozen=True)
class DeviceChoice:
    """`device` "cuda" or "cpu", and the reason in words."""

    device: str
    reason: str


def faster_device(settings: Sequence[Throughput]) -> DeviceChoice:
    """The kind of device that is sooner done with all settings, one after another; GPUs where they are not measured.

    >>> faster_device([Throughput(1e6, 2e5, 5e4), Throughput(1e6, 1e5, 4e5)])
    DeviceChoice(device='cuda', reason='device auto: 133,333 run-steps per second by its GPUs, 88,889 by its CPUs')
    """
    if any(each.by_gpus is None for each in settings):
        return DeviceChoice("cuda", "device auto: its GPUs, not measured, since this computer has none")
    gpus_s = sum(each.run_steps / each.by_gpus for each in settings if each.by_gpus is not None)
    cpus_s = sum(each.run_steps / each.by_cpus for each in settings)
    total = sum(each.run_steps for each in settings)
    told = f"{total / gpus_s:,.0f} run-steps per second by its GPUs, {total / cpus_s:,.0f} by its CPUs"
    return DeviceChoice("cpu" if cpus_s < gpus_s else "cuda", f"device auto: {told}")
