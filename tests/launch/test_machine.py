"""What one pack asks for must be on one computer, or the sweep is refused before it waits for ever."""

from __future__ import annotations

import os

import pytest

from pipeline.launch import machine
from pipeline.launch.machine import machine_of, num_cpus_here
from pipeline.spec.sections import Resources
from pipeline.store.pack_store import StoreError


class FakeRay:
    """A cluster of these computers, of which one has died."""

    def __init__(self, *nodes):
        self._nodes = nodes

    def cluster_resources(self):
        return {name: sum(node.get(name, 0) for node in self._nodes) for name in ("CPU", "GPU")}

    def nodes(self):
        dead = {"Alive": False, "Resources": {"CPU": 100.0, "GPU": 100.0}}
        return [dead, *({"Alive": True, "Resources": node} for node in self._nodes)]


@pytest.mark.parametrize(
    ("resources", "told"),
    [
        ({"cpus_per_pack": 5}, "cpus_per_pack is 5, and the largest computer here has 4"),
        ({"cpus_per_pack": 4}, None),
        ({"gpus_per_pack": 2}, "gpus_per_pack is 2, and the largest computer here has 1"),
        ({"gpus_per_pack": 2, "device": "cpu"}, None),
        ({"gpus_per_pack": 0.5, "cpus_per_pack": 4}, None),
    ],
)
def test_more_than_any_computer_of_a_cluster_has_is_refused(resources, told, monkeypatch):
    monkeypatch.setattr(machine, "connect", lambda address: (FakeRay({"CPU": 4.0}, {"CPU": 3.0, "GPU": 1.0}), None))
    if told is None:
        assert machine_of(Resources(**resources), "auto", False).num_workers >= 1
    else:
        with pytest.raises(StoreError, match=told):
            machine_of(Resources(**resources), "auto", False)


def test_more_than_this_computer_has_is_refused_except_inline(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    asked = Resources(cpus_per_pack=num_cpus_here() + 1)
    with pytest.raises(StoreError, match=f"cpus_per_pack is {num_cpus_here() + 1}, and the largest computer here has"):
        machine_of(asked, None, False)
    assert machine_of(asked, None, True).num_workers == 1


def test_cpus_are_counted_where_the_system_does_not_say_which_may_be_used(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert num_cpus_here() == os.cpu_count()
