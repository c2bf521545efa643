"""A launch whose Ray is lost ends by itself, with a sentence, even if Ray's own calls wait for ever."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.launch import ray_loss
from pipeline.store.pack_store import StoreError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def services():
    with socket.create_server(("127.0.0.1", 0)) as control, socket.create_server(("127.0.0.1", 0)) as raylet:
        yield control, raylet


@pytest.fixture
def quick(monkeypatch):
    for name, value in {"PATIENCE_S": 0.3, "_INTERVAL_S": 0.05, "_LEAVING_S": 5.0}.items():
        monkeypatch.setattr(ray_loss, name, value)


def fake_ray(control, raylet):
    """Of Ray, what is asked for its services; another computer's raylet does not matter."""
    here = {"NodeID": "here", "NodeManagerAddress": "127.0.0.1", "NodeManagerPort": raylet.getsockname()[1]}
    away = {"NodeID": "away", "NodeManagerAddress": "127.0.0.1", "NodeManagerPort": 1}
    context = SimpleNamespace(gcs_address=f"127.0.0.1:{control.getsockname()[1]}", get_node_id=lambda: "here")
    return SimpleNamespace(get_runtime_context=lambda: context, nodes=lambda: [away, here])


def waiting(ray, seconds):
    """As Tune waits: for ever, and going on after any Exception."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            time.sleep(0.05)
        except Exception:
            continue
    return "done"


@pytest.mark.parametrize(("number", "name"), [(0, "control service"), (1, "raylet of this computer")])
def test_a_launch_ends_with_the_name_of_what_was_lost(number, name, services, quick):
    before = signal.getsignal(ray_loss._SIGNAL)
    threading.Timer(0.2, services[number].close).start()
    started = time.monotonic()
    with pytest.raises(StoreError, match=f"{name}.* does not answer any more.*seedbed resume"):
        ray_loss.ends_when_ray_is_lost(waiting)(fake_ray(*services), 20)
    assert time.monotonic() - started < 5
    assert signal.getsignal(ray_loss._SIGNAL) == before


def test_what_ray_makes_of_the_loss_is_not_the_cause_that_is_told(services, quick):
    def failing(ray):
        try:
            waiting(ray, 20)
        except BaseException:
            raise RuntimeError("of Ray's own") from None

    services[0].close()
    ray = fake_ray(*services[1:], services[1])
    ray.get_runtime_context().gcs_address = "127.0.0.1:1"
    with pytest.raises(StoreError, match="control service"):
        ray_loss.ends_when_ray_is_lost(failing)(ray)


def test_a_service_that_is_silent_for_a_moment_is_not_lost_and_errors_of_the_launch_are_its_own(services, quick):
    assert ray_loss.ends_when_ray_is_lost(waiting)(fake_ray(*services), 1) == "done"

    def wrong(ray):
        raise KeyError("a")

    with pytest.raises(KeyError):
        ray_loss.ends_when_ray_is_lost(wrong)(fake_ray(*services))
    port = services[0].getsockname()[1]
    services[0].close()

    def back():
        with socket.create_server(("127.0.0.1", port)):
            time.sleep(2)

    threading.Timer(0.1, back).start()
    ray = fake_ray(services[1], services[1])
    ray.get_runtime_context().gcs_address = f"127.0.0.1:{port}"
    assert ray_loss.ends_when_ray_is_lost(waiting)(ray, 1) == "done"


STUCK = """
import threading, types
from pipeline.launch import ray_loss
ray_loss.PATIENCE_S, ray_loss._INTERVAL_S, ray_loss._LEAVING_S = 0.2, 0.05, 0.3
def stuck(ray):
    while True:
        try:
            threading.Event().wait(60)
        except BaseException:
            pass
context = types.SimpleNamespace(gcs_address="127.0.0.1:1", get_node_id=lambda: "here")
ray_loss.ends_when_ray_is_lost(stuck)(types.SimpleNamespace(get_runtime_context=lambda: context, nodes=lambda: []))
"""


def test_a_launch_that_cannot_leave_is_ended_all_the_same():
    ended = subprocess.run([sys.executable, "-c", STUCK], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "control service (GCS) at 127.0.0.1:1 does not answer any more" in ended.stderr
    assert "Traceback" not in ended.stderr
