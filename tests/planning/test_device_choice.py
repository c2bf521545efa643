"""Whether runs go to GPUs or to CPUs where the sweep file leaves it open, by timings that are made up."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pipeline.launch import machine as hardware
from pipeline.launch.machine import machine_of
from pipeline.launch.planned import plan_for, plan_on
from pipeline.planning.device_choice import Throughput, faster_device
from pipeline.planning.packs import Machine
from pipeline.spec.sections import Resources
from pipeline.training import calibration
from tests.support import tiny, trained

CPUS = Machine.cpu(16)
MACHINE = Machine("cuda", 2, CPUS.torch, CPUS)
SPEC = tiny(seeds={"together": {"range": [0, 200]}})


@pytest.fixture
def timed(monkeypatch):
    """Function that makes timings up: run-steps per second on a GPU by slots, and of a compiled slot on a core."""

    def plant(on_gpu, on_core):
        asked = []

        def measured(config, resources, device, candidates=None):
            asked.append((device, candidates))
            return on_gpu if device == "cuda" else {}

        monkeypatch.setattr(calibration, "_measured", measured)
        monkeypatch.setattr(calibration, "_remembered", lambda config, resources, part: on_gpu)
        monkeypatch.setattr(calibration, "_speed", lambda config, resources, engine: on_core)
        monkeypatch.setattr(calibration, "compiled_engine_of", lambda config, wanted: "g++-planted")
        return asked

    return plant


def plan(spec=SPEC, machine=MACHINE, **resources):
    return plan_on(spec.model_copy(update={"resources": Resources(**resources)}), machine)


def of(found):
    """The device and engine of all packs, and the reason of the first."""
    numerics = {(pack.numerics.device, pack.numerics.engine) for pack in found.packs}
    assert len(numerics) == 1
    return (*numerics.pop(), found.packs[0].reason)


def test_the_sum_over_settings_decides():
    fast_on_gpus, fast_on_cpus = Throughput(1e6, 4e5, 1e5), Throughput(1e6, 1e5, 4e5)
    assert faster_device([fast_on_gpus]).device == "cuda"
    assert faster_device([fast_on_cpus]).device == "cpu"
    assert faster_device([fast_on_gpus, replace(fast_on_cpus, run_steps=1.1e6)]).device == "cpu"
    assert faster_device([fast_on_gpus, replace(fast_on_cpus, run_steps=0.9e6)]).device == "cuda"


def test_gpus_that_cannot_be_measured_are_taken():
    choice = faster_device([Throughput(1e6, 1.0, 1e9), Throughput(1e6, None, 1e9)])
    assert choice.device == "cuda"
    assert "not measured" in choice.reason


@pytest.mark.parametrize(
    ("on_gpu", "device", "engine"), [(90_000.0, "cuda", "torch"), (70_000.0, "cpu", "g++-planted")]
)
def test_two_gpus_are_held_against_sixteen_cores(on_gpu, device, engine, timed):
    timed({16: on_gpu / 2, 64: on_gpu}, on_core=10_000.0)
    found_device, found_engine, reason = of(plan())
    assert (found_device, found_engine) == (device, engine)
    assert f"{2 * on_gpu:,.0f} run-steps per second by its GPUs, 160,000 by its CPUs" in reason


def test_slots_that_no_pack_can_fill_do_not_count(timed):
    timed({64: 70_000.0, 256: 85_000.0}, on_core=10_000.0)
    assert of(plan())[0] == "cpu", "200 runs for two GPUs are packs of 100, which are 76,500 run-steps per second each"


def test_packs_that_share_a_gpu_share_its_speed(timed):
    shared = replace(MACHINE, num_workers=4)
    for on_gpu, device in ((90_000.0, "cuda"), (70_000.0, "cpu")):
        timed({50: on_gpu}, on_core=10_000.0)
        found_device, _, reason = of(plan(machine=shared, gpus_per_pack=0.5))
        assert found_device == device
        assert f"{2 * on_gpu:,.0f} run-steps per second by its GPUs" in reason


def test_few_runs_are_timed_in_a_slot_each_and_keep_few_cores_busy(timed):
    asked = timed({3: 35_000.0}, on_core=10_000.0)
    few = tiny(seeds={"together": {"range": [0, 6]}})
    assert of(plan(few))[0] == "cuda", "six runs keep six of sixteen cores busy"
    assert ("cuda", (3,)) in asked


@pytest.mark.parametrize(
    ("resources", "device"),
    [({"engine": "torch"}, "cuda"), ({"matmul_precision": "tf32"}, "cuda"), ({"engine": "compiled"}, "cpu")],
)
def test_what_one_kind_of_device_alone_can_compute_is_not_timed(resources, device, timed, monkeypatch):
    timed({64: 1.0, 256: 1.0}, on_core=1e-9 if device == "cpu" else 1e9)
    monkeypatch.setattr(calibration, "faster_device", lambda settings: pytest.fail("no choice was open"))
    assert of(plan(**resources))[0] == device


def test_a_folder_goes_on_with_the_device_that_it_was_begun_on(timed, tmp_path, monkeypatch):
    trained(tiny(seeds={"together": [0, 1]}, budget=20), tmp_path / "r")
    timed({64: 1e9}, on_core=1.0)
    monkeypatch.setattr(calibration, "faster_device", lambda settings: pytest.fail("no choice was open"))
    found = plan_for(tiny(seeds={"together": {"range": [0, 80]}}, budget=20), tmp_path / "r", MACHINE)
    assert {pack.numerics.device for pack in found.packs} == {"cpu"}
    assert len(found.packs) > 1


def test_a_machine_with_gpus_leaves_the_choice_open_unless_the_sweep_file_names_the_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(hardware, "num_cpus_here", lambda: 16)
    assert machine_of(Resources(), None, False) == MACHINE
    assert machine_of(Resources(device="cuda"), None, False) == replace(MACHINE, cpus=None)
    assert machine_of(Resources(device="cpu"), None, False) == CPUS
    inline = machine_of(Resources(), None, True)
    assert (inline.num_workers, inline.on("cpu").num_workers) == (1, 1)
    assert MACHINE.on("cuda") is MACHINE
    assert CPUS.on("cpu") is CPUS
