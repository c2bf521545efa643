"""Hardware available to a launch: device kind, and number of packs trained at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.metadata import version

import torch

from pipeline.launch.autoscaling import await_gpu
from pipeline.launch.ray_session import connect
from pipeline.planning.packs import Machine
from pipeline.spec.sections import Resources
from pipeline.store.pack_store import StoreError


def num_cpus_here() -> int:
    """The CPUs that this process may use; all of the computer's where the system does not say which, as macOS."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _refuse_more(asked: float, name: str, found: Sequence[float]) -> None:
    if asked > max(found, default=0):
        raise StoreError(
            f"resources.{name} is {asked:g}, and the largest computer here has {max(found, default=0):g}: no "
            "pack would ever start"
        )


def machine_of(
    resources: Resources, address: str | None, is_inline: bool, on_phase: Callable[[str], None] = lambda phase: None
) -> Machine:
    """Hardware available to a launch: that of the cluster, or of this machine.

    Its GPUs where there are any, with the CPUs beside them, unless the sweep file names the device. Where it names
    GPUs and the cluster has none yet, its autoscaler is asked for a node, and `on_phase` is told of the wait. Raises
    StoreError where no computer has what one pack asks for.
    """
    if address is not None and not is_inline:
        ray, _ = connect(address)
        if resources.device == "cuda":
            await_gpu(ray, resources, on_phase)
        found = ray.cluster_resources()
        num_cpus, num_gpus = int(found.get("CPU", 1)), int(found.get("GPU", 0))
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    else:
        num_cpus, num_gpus = num_cpus_here(), torch.cuda.device_count()
        nodes = [{"CPU": num_cpus, "GPU": num_gpus}]
    if resources.device == "cuda" and not num_gpus:
        raise StoreError("resources.device is cuda, and there is no GPU here; leave it at auto, or set cpu")
    device = resources.device if resources.device != "auto" else ("cuda" if num_gpus else "cpu")
    if not is_inline:
        _refuse_more(resources.cpus_per_pack, "cpus_per_pack", [node.get("CPU", 0) for node in nodes])
        if device == "cuda":
            _refuse_more(resources.gpus_per_pack, "gpus_per_pack", [node.get("GPU", 0) for node in nodes])
    of_cpus = Machine.cpu(resources.workers or _workers(num_cpus / (resources.cpus_per_pack or 1), is_inline))
    if device == "cpu":
        return of_cpus
    workers = resources.workers or _workers(num_gpus / (resources.gpus_per_pack or 1), is_inline)
    return Machine(device, workers, version("torch"), of_cpus if resources.device == "auto" else None)


def _workers(fit: float, is_inline: bool) -> int:
    return 1 if is_inline else max(1, int(fit))
