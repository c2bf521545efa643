"""The nodes of a Ray cluster: which are alive, and what each can compute, by a look from a process on the node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeline.training.abilities import Abilities

_NODE_LABEL = "ray.io/node-id"
_TIMEOUT_S = 60.0


def alive_nodes(ray: Any) -> dict[str, str]:
    """Node id -> host name, of the nodes that are alive."""
    return {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}


def abilities_of(ray: Any, node_ids: Iterable[str]) -> dict[str, Abilities]:
    """What each of these nodes can compute, looked at there; those that give no answer within a minute are left out."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    look = ray.remote(num_cpus=0, max_retries=0)(_look)
    asked = {
        look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)).remote(): node_id
        for node_id in node_ids
    }
    answered, late = ray.wait(list(asked), num_returns=len(asked), timeout=_TIMEOUT_S) if asked else ([], [])
    for reference in late:
        ray.cancel(reference, force=True)
    found = {}
    for reference in answered:
        try:
            found[asked[reference]] = ray.get(reference)
        except ray.exceptions.RayError:
            # A node on which seedbed does not start is tried with a pack, which then says why.
            continue
    return found


def elsewhere(node_ids: Iterable[str]) -> list[dict[str, str]]:
    """The label selector, by bundle, of a pack that is to be placed on any other node than these."""
    listed = ",".join(sorted(node_ids))
    return [{_NODE_LABEL: f"!in({listed})"}] if listed else [{}]


def _look() -> Abilities:
    return Abilities.here()
