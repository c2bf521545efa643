"""What a launch has: what one pack asks for must be on one computer; GPUs that an autoscaler adds; planned workers."""

from __future__ import annotations

import os
import sys

import pytest

from pipeline.launch import autoscaling, machine
from pipeline.launch.machine import machine_of, num_cpus_here
from pipeline.launch.planned import plan_on
from pipeline.spec.sections import Resources
from pipeline.store.pack_store import StoreError
from tests.support import tiny


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


class ScalingRay(FakeRay):
    """A cluster whose autoscaler adds a node so many looks after it was asked for one, or never."""

    def __init__(self, looks, *nodes):
        super().__init__(*nodes)
        self.looks, self.asked = looks, []

    def request_resources(self, bundles):
        self.asked.append(bundles)

    def cluster_resources(self):
        if any(self.asked):
            self.looks -= 1
            if self.looks == 0:
                self._nodes = (*self._nodes, {"CPU": 8.0, "GPU": 1.0})
        return super().cluster_resources()


@pytest.fixture
def scaling(monkeypatch):
    def made(looks, *nodes):
        cluster = ScalingRay(looks, *nodes)
        monkeypatch.setattr(machine, "connect", lambda address: (cluster, None))
        monkeypatch.setitem(sys.modules, "ray.autoscaler.sdk", cluster)
        monkeypatch.setattr(autoscaling, "_LOOK_EVERY_S", 0.0)
        return cluster

    return made


def test_a_gpu_that_the_sweep_file_names_is_asked_of_the_autoscaler_and_the_request_taken_back(scaling):
    cluster, told = scaling(3, {"CPU": 4.0}), []
    found = machine_of(Resources(device="cuda", gpus_per_pack=0.5, cpus_per_pack=2), "auto", False, told.append)
    assert (found.device, found.num_workers) == ("cuda", 2)
    assert cluster.asked == [[{"GPU": 0.5, "CPU": 2.0}], []]
    assert len(told) == 1


def test_nothing_is_asked_where_there_is_a_gpu_or_the_sweep_file_names_none(scaling):
    cluster = scaling(1, {"CPU": 4.0}, {"CPU": 4.0, "GPU": 1.0})
    assert machine_of(Resources(device="cuda"), "auto", False).device == "cuda"
    cluster = scaling(1, {"CPU": 4.0})
    assert machine_of(Resources(), "auto", False).device == "cpu"
    assert cluster.asked == []


def test_a_gpu_that_does_not_come_is_missed_in_the_end(scaling, monkeypatch):
    cluster = scaling(0, {"CPU": 4.0})
    monkeypatch.setenv("SEEDBED_GPU_WAIT_S", "0")
    with pytest.raises(StoreError, match="device is cuda, and there is no GPU here"):
        machine_of(Resources(device="cuda"), "auto", False)
    assert cluster.asked == [[{"GPU": 1, "CPU": 1.0}], []]


@pytest.mark.parametrize("is_inline", [False, True])
def test_a_plan_has_packs_for_the_workers_that_the_sweep_file_names(is_inline):
    many = machine_of(Resources(workers=32, device="cpu"), None, is_inline)
    assert many.num_workers == 32
    forty = tiny(seeds={"together": {"range": [0, 40]}}, budget=20, resources={"slots": 1})
    assert len(plan_on(forty, many).packs) == 32
