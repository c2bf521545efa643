"""Launching through Ray Tune: equal to inline, and resumed after the driver was killed."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.launch.ray import _reporter
from pipeline.planning.packs import packs_of
from pipeline.store.progress import unfinished
from pipeline.store.sweep_store import SweepStore
from tests.support import opened, rows, tiny, trained, weights
from tests.sweeps.test_cli import run

# What `make cluster-test` runs.
UNDER_RAY = pytest.param([], marks=[pytest.mark.ray, pytest.mark.slow])
SPEC = {"seeds": {"together": {"range": [0, 12]}}, "resources": {"slots": 3}, "budget": 600}


def _slow(value):
    return pytest.param(value, marks=pytest.mark.slow)


def ours(pid):
    """Process ids of all descendants of `pid`."""
    found, edges = [], {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        edges.setdefault(int(fields[1]), []).append(int(path.parent.name))
    todo = [pid]
    while todo:
        children = edges.get(todo.pop(), [])
        found += children
        todo += children
    return found


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def seedbed(*arguments, cwd, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "sweeps.cli", *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def finish(process, timeout=120):
    output, _ = process.communicate(timeout=timeout)
    return process.returncode, output


def until(condition, timeout_s=120.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return trained(tiny(**SPEC), tmp_path_factory.mktemp("reference") / "r")


@pytest.fixture
def spec_path(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(tiny(**SPEC).to_yaml())
    return path


def with_children(process):
    """Wait until a process has ended; ids of all the processes that it had started."""
    children = []

    def has_ended():
        children.extend(pid for pid in ours(process.pid) if pid not in children)
        return process.poll() is not None

    until(has_ended)
    return children


# In the order of a bad day; the README's commands launch under Ray in `make test`.
@pytest.mark.slow
@pytest.mark.ray
def test_a_launch_under_ray_that_is_stopped_then_killed_and_resumed_has_the_bits_of_one_inline(
    spec_path, tmp_path, reference, monkeypatch, capsys
):
    children = left_at_a_signal(signal.SIGTERM, [], spec_path, tmp_path, reference, within_s=30)
    assert len(children) > 3
    until(lambda: not any(is_alive(pid) for pid in children), 10)
    assert not list((tmp_path / "r").rglob("*tmp*"))

    monkeypatch.chdir(tmp_path)
    environment = os.environ | {"SEEDBED_COMMIT_S": "0.2"}
    process = seedbed("launch", spec_path, "--results", "r", cwd=tmp_path, env=environment)
    store = SweepStore(tmp_path / "r")
    until(lambda: any(run.step >= 300 for record in store.newest_records().values() for run in record.active.values()))
    process.kill()
    process.wait()
    # At once: workers of the dead driver that still train are fenced out by the new attempts.
    committed = rows(store)
    assert unfinished(store), "it was too late to say anything"
    code, output = run(monkeypatch, capsys, "resume", "r", "--inline")
    assert code == 0, output
    assert committed.items() <= rows(store).items()
    assert rows(store) == rows(reference)
    assert weights(store) == weights(reference)


@pytest.mark.slow
@pytest.mark.ray
def test_a_launch_under_ray_equals_inline_to_the_bit_and_leaves_nothing_running(
    spec_path, tmp_path, reference, monkeypatch, capsys
):
    process = seedbed("launch", spec_path, "--results", "r", cwd=tmp_path)
    children = with_children(process)
    code, output = finish(process)
    assert code == 0, output
    assert "12/12 runs done" in output
    store = SweepStore(tmp_path / "r")
    assert weights(store) == weights(reference)
    assert rows(store) == rows(reference)
    assert len(children) > 3
    until(lambda: not any(is_alive(pid) for pid in children), 10)
    assert not list((tmp_path / "r").rglob("*tmp*"))
    monkeypatch.chdir(tmp_path)
    code, output = run(monkeypatch, capsys, "launch", spec_path, "--results", "r")
    assert code == 0
    assert "complete already" in output


def left_at_a_signal(number, options, spec_path, tmp_path, reference, within_s=10):
    """Launch, and send the signal in the first pack: what was trained is committed, and the launch ends with 3.

    Ids of all the processes that it had started.
    """
    process = seedbed("launch", spec_path, "--results", "r", *options, cwd=tmp_path)
    store = SweepStore(tmp_path / "r")
    until(lambda: any((store.folder / "packs").glob("*/attempt-0001")))
    process.send_signal(number)
    started = time.monotonic()
    children = with_children(process)
    assert time.monotonic() - started < within_s
    code, output = finish(process)
    assert code == 3, output
    assert "resume with: seedbed resume r" in output
    assert "Traceback" not in output
    # Outcomes, of which there are none so far, and which take seconds to import.
    assert "converged within" not in output
    assert any(record.active for record in store.newest_records().values())
    assert rows(store).items() < rows(reference).items()
    return children


@pytest.mark.parametrize("number", [signal.SIGTERM, _slow(signal.SIGUSR1), signal.SIGXCPU])
def test_a_signal_commits_says_how_to_resume_and_looks_nothing_like_success(
    number, spec_path, tmp_path, reference, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    left_at_a_signal(number, ["--inline"], spec_path, tmp_path, reference)
    assert run(monkeypatch, capsys, "status", "r")[0] == 3


def test_after_ctrl_c_the_same_command_goes_on_to_the_bits_of_one_that_never_stopped(
    spec_path, tmp_path, reference, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    left_at_a_signal(signal.SIGINT, ["--inline"], spec_path, tmp_path, reference)
    code, output = run(monkeypatch, capsys, "launch", spec_path, "--results", "r", "--inline")
    assert code == 0, output
    assert rows(SweepStore(tmp_path / "r")) == rows(reference)


# SIGTERM is above, SIGHUP the terminal's, below; `make cluster-test` sends SIGINT at random moments, too.
@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_a_signal_under_ray_commits_and_resume_completes(number, spec_path, tmp_path, reference, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    left_at_a_signal(number, [], spec_path, tmp_path, reference, within_s=30)
    code, output = run(monkeypatch, capsys, "resume", "r", "--inline")
    assert code == 0, output
    assert rows(SweepStore(tmp_path / "r")) == rows(reference)


def test_what_tune_does_with_sigusr1_lasts_until_the_next_step_alone():
    def of_the_driver(*_):
        """As the driver's, which asks packs to commit."""

    before = signal.signal(signal.SIGUSR1, of_the_driver)
    try:
        reporter = _reporter(SimpleNamespace(Callback=object), lambda *_: None)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        reporter.on_step_begin(0, [])
        assert signal.getsignal(signal.SIGUSR1) is of_the_driver
    finally:
        signal.signal(signal.SIGUSR1, before)


IN_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


@pytest.mark.parametrize("options", [["--inline"], UNDER_RAY], ids=["inline", "ray"])
def test_when_the_terminal_closes_packs_commit_and_leave(options, spec_path, tmp_path):
    terminal, ours = pty.openpty()
    os.set_blocking(terminal, False)
    launch = [sys.executable, "-m", "sweeps.cli", "launch", spec_path, "--results", "r", *options]
    process = subprocess.Popen(
        [sys.executable, "-c", IN_TERMINAL, *map(str, launch)],
        cwd=tmp_path,
        stdin=ours,
        stdout=ours,
        stderr=ours,
        start_new_session=True,
    )
    os.close(ours)
    store = SweepStore(tmp_path / "r")

    def is_training():
        # What is not read would block the launch.
        with contextlib.suppress(BlockingIOError):
            os.read(terminal, 2**16)
        return any((store.folder / "packs").glob("*/attempt-0001"))

    until(is_training)
    os.close(terminal)
    assert process.wait(30) == 3
    assert any(record.active for record in store.newest_records().values())
    assert not store.stop_file.exists()


@pytest.mark.parametrize("options", [["--inline"], UNDER_RAY], ids=["inline", "ray"])
def test_a_pack_that_cannot_have_its_numerics_is_named_and_the_exit_code_says_incomplete(
    options, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    store = opened(tiny(), tmp_path / "r")
    plan = dict(store.plan)
    for pack in plan["packs"]:
        pack["numerics"]["torch"] = "1.0.0"
        pack["pack_id"] = packs_of({"packs": [pack]})[0].pack_id
    store.write_documents(store.sweep, plan, is_shared=False)
    if options:
        code, output = run(monkeypatch, capsys, "resume", "r", *options)
    else:
        code, output = finish(seedbed("resume", "r", cwd=tmp_path))
    assert code == 3, output
    assert "not computed here: 1 pack" in output
    assert "planned for torch 1.0.0" in output
    assert "Traceback" not in output


# `make cluster-test` does it.
@pytest.mark.slow
@pytest.mark.ray
def test_a_launch_joins_the_cluster_that_is_there_and_leaves_it_running(spec_path, tmp_path, reference):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64, "RAY_USAGE_STATS_ENABLED": "0"}
    # Ray's sockets lie below its folder, and their paths must be short.
    scratch = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    options = f"--head --port {port} --num-cpus 2 --include-dashboard false --temp-dir {scratch} --block"
    command = [str(Path(sys.executable).parent / "ray"), "start", *options.split()]
    head = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: answers(port))
        arguments = ("launch", spec_path, "--results", "r", "--address", f"127.0.0.1:{port}")
        code, output = finish(seedbed(*arguments, cwd=tmp_path, env=environment))
        assert code == 0, output
        assert head.poll() is None
        assert rows(SweepStore(tmp_path / "r")) == rows(reference)
        assert not list((tmp_path / "r").glob("seedbed-tune-*"))
    finally:
        children = ours(head.pid)
        head.terminate()
        head.wait(30)
        for pid in children:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(scratch, ignore_errors=True)


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.ray
def test_a_cluster_that_is_not_there_is_told_within_seconds(spec_path, tmp_path):
    started = time.monotonic()
    code, output = finish(seedbed("launch", spec_path, "--address", "127.0.0.1:1", cwd=tmp_path))
    assert code == 2
    assert "no Ray cluster answers at 127.0.0.1:1" in output
    assert "Traceback" not in output
    assert time.monotonic() - started < 20
    assert not (tmp_path / "results").exists()
