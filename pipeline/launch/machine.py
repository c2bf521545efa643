"""Hardware available to a launch: device kind, and number of packs trained at a time."""

from __future__ import annotations

import os
from importlib.metadata import version

import torch

from pipeline.launch.ray import connect
from pipeline.planning.packs import Machine
from pipeline.spec.sections import Resources
from pipeline.store.pack_store import StoreError


def machine_of(resources: Resources, address: str | None, is_inline: bool) -> Machine:
    """Hardware available to a launch: that of the cluster, or of this machine."""
    if address is not None and not is_inline:
        ray, _ = connect(address)
        found = ray.cluster_resources()
        num_cpus, num_gpus = int(found.get("CPU", 1)), int(found.get("GPU", 0))
    else:
        num_cpus, num_gpus = len(os.sched_getaffinity(0)), torch.cuda.device_count()
    if resources.device == "cuda" and not num_gpus:
        raise StoreError("resources.device is cuda, and there is no GPU here; leave it at auto, or set cpu")
    device = resources.device if resources.device != "auto" else ("cuda" if num_gpus else "cpu")
    if device == "cuda":
        workers = num_gpus / (resources.gpus_per_pack or 1)
    else:
        workers = num_cpus / (resources.cpus_per_pack or 1)
    return Machine(device, 1 if is_inline else max(1, int(workers)), version("torch"))
