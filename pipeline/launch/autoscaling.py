"""A GPU for a launch whose cluster has none yet: asked of the autoscaler, and waited for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from pipeline.spec.sections import Resources

# A cloud takes minutes to start a machine and to fetch an image.
_WAIT_S = 900.0
_LOOK_EVERY_S = 1.0


def await_gpu(ray: Any, resources: Resources, on_phase: Callable[[str], None]) -> None:
    """Returns once the cluster has a GPU, or after SEEDBED_GPU_WAIT_S (900) seconds without one.

    Ray does not tell whether a cluster has an autoscaler. The request is taken back in the end, since Ray would keep
    the node for as long as it stands; by then packs ask for nodes.
    """
    if _has_gpu(ray):
        return
    from ray.autoscaler.sdk import request_resources

    wait_s = float(os.environ.get("SEEDBED_GPU_WAIT_S", _WAIT_S))
    on_phase(f"waiting up to {wait_s:g} s for a node with a GPU, which the cluster's autoscaler is asked for")
    request_resources(bundles=[{"GPU": resources.gpus_per_pack or 1, "CPU": resources.cpus_per_pack}])
    try:
        until = time.monotonic() + wait_s
        while not _has_gpu(ray) and time.monotonic() < until:
            time.sleep(_LOOK_EVERY_S)
    finally:
        request_resources(bundles=[])


def _has_gpu(ray: Any) -> bool:
    return bool(ray.cluster_resources().get("GPU", 0))
