"""A worker that gets nothing done is ended, whatever it hangs in; one that was suspended with its watcher is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from pipeline.launch.inline import launch_inline
from pipeline.launch.pulse import HangError, Pulse
from pipeline.launch.watch import FACTOR, Watch, last_hang, log_hang, log_path, log_size, place_in
from pipeline.launch.watched import watched_by_a_thread
from pipeline.store.progress import unfinished
from tests.support import opened, rows, trained, weights
from tests.training.raising import raising
from tests.training.test_failing_runs import spec_of


def ticks_until_hung(watch, counts):
    for tick, count in enumerate(counts, 1):
        if watch.is_hung(count):
            return tick
    return None


def test_the_limit_is_the_least_one_or_fifty_times_the_slowest_thing_done():
    assert ticks_until_hung(Watch(100.0), [0] * 200) == 101
    assert ticks_until_hung(Watch(100.0), range(10_000)) is None
    waited_for = 7
    assert ticks_until_hung(Watch(100.0), [1, *[1] * waited_for, *[2] * 1000]) == 8 + 1 + FACTOR * waited_for + 1


def test_opening_has_a_minute_and_how_long_it_takes_does_not_raise_the_limit():
    assert ticks_until_hung(Watch(100.0), [*[0] * 90, *[1] * 200]) == 90 + 101 + 1
    assert ticks_until_hung(Watch(20.0), [*[0] * 50, *[1] * 100]) == 50 + 21 + 1
    assert ticks_until_hung(Watch(20.0), [0] * 100) == 61


def test_a_pulse_is_read_by_whoever_has_its_file():
    with Pulse() as pulse:
        for _ in range(300):
            pulse.beat()
        assert pulse.count == 300
        assert int.from_bytes(os.pread(pulse.descriptor, 8, 0), sys.byteorder) == 300


TRACEBACK = """Current thread 0x1 (most recent call first):
  File "/x/pipeline/launch/watched.py", line 80 in run

Thread 0x2 (most recent call first):
  File "/home/me/sleepy.py", line 24 in sample
  File "/x/pipeline/engine/slots.py", line 3 in sample
  File "/x/pipeline/training/worker.py", line 50 in run_pack
"""


def test_the_log_names_the_innermost_line_of_the_thread_that_trains(tmp_path):
    assert place_in(TRACEBACK) == "sleepy.py, line 24, in sample"
    assert place_in("") == ""
    path = log_path(tmp_path, "a")
    assert last_hang(tmp_path, "a", 0) == ""
    told = log_hang(path, 60.0, TRACEBACK)
    assert (
        told
        == f"nothing was done for 60 s, at sleepy.py, line 24, in sample; see {path}"
        == last_hang(tmp_path, "a", 0)
    )
    assert path.stat().st_mode & 0o777 == 0o600
    size = log_size(tmp_path, "a")
    assert last_hang(tmp_path, "a", size) == ""
    log_hang(path, 90.0, "")
    assert last_hang(tmp_path, "a", size).startswith("nothing was done for 90 s; see")


def test_a_thread_interrupts_what_hangs_and_nothing_that_gets_on(tmp_path, monkeypatch):
    monkeypatch.setenv("SEEDBED_HANG_S", "0.3")
    before = signal.getsignal(signal.SIGUSR2)
    with watched_by_a_thread(tmp_path, "a") as pulse:
        for _ in range(8):
            time.sleep(0.1)
            pulse.beat()
    assert not log_path(tmp_path, "a").exists()
    started = time.monotonic()

    def hang():
        with watched_by_a_thread(tmp_path, "a") as pulse:
            pulse.beat()
            time.sleep(50)

    with pytest.raises(HangError, match="nothing was done for"):
        hang()
    assert time.monotonic() - started < 30
    assert signal.getsignal(signal.SIGUSR2) is before
    assert "test_watch.py" in log_path(tmp_path, "a").read_text()


def test_a_pack_that_hangs_inline_is_tried_three_times_and_the_others_are_trained(tmp_path, monkeypatch):
    raising(monkeypatch, tmp_path)
    spec = spec_of([-1.0], resources={"slots": 1})
    hanging = type(spec).model_validate(spec.identity() | {"vary": [{"task.hangs_at": [-1.0, 13.0]}]})
    store = opened(hanging, tmp_path / "r", num_workers=2)
    monkeypatch.setenv("SEEDBED_HANG_S", "1")
    monkeypatch.setattr("pipeline.launch.watch.FACTOR", 1.0)
    failures = launch_inline(store, unfinished(store), lambda *_: None).failures
    (pack_id,) = unfinished(store)
    assert failures.keys() == {pack_id}
    assert "at raising.py, line" in failures[pack_id]
    assert store.pack(pack_id).newest_attempt() == 3
    assert log_path(store.folder, pack_id).read_text().count("nothing was done") == 3
    reference = trained(spec_of([-1.0]), tmp_path / "b")
    assert weights(store) == weights(reference)
    assert rows(store) == rows(reference)


WORKER = """
import sys, time
from pathlib import Path
from pipeline.launch.watched import watched_from_outside

with watched_from_outside(Path(sys.argv[1]), "a") as pulse:
    # From here on it is no longer opening.
    pulse.beat()
    print("watched", flush=True)
    for _ in range(int(sys.argv[2])):
        pulse.beat()
        # In pieces, since what is left of a long one passes while the process is stopped.
        for _ in range(30):
            time.sleep(0.02)
    def run_pack():
        time.sleep(3600)
    if sys.argv[3] == "hangs":
        run_pack()
"""


def worker(folder, beats, then, **options):
    environment = os.environ | {"SEEDBED_HANG_S": "1"}
    command = [sys.executable, "-c", WORKER, str(folder), str(beats), then]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, **options)
    assert process.stdout.readline() == "watched\n"
    return process


def test_a_process_that_hangs_is_killed_by_its_watcher_which_says_where_it_was(tmp_path):
    process = worker(tmp_path, 1, "hangs")
    assert process.wait(60) == -signal.SIGKILL
    assert "nothing was done for 1 s, at <string>, line 16, in run_pack" in log_path(tmp_path, "a").read_text()


def test_a_process_that_is_stopped_alone_is_killed_too(tmp_path):
    process = worker(tmp_path, 1000, "ends")
    process.send_signal(signal.SIGSTOP)
    assert process.wait(60) == -signal.SIGKILL
    assert "The process was stopped by a signal." in log_path(tmp_path, "a").read_text()


def test_a_group_that_is_suspended_as_a_whole_goes_on_afterwards(tmp_path):
    process = worker(tmp_path, 5, "ends", start_new_session=True)
    # The watcher, too, has started.
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(2)
    os.killpg(process.pid, signal.SIGCONT)
    assert process.wait(60) == 0
    assert not log_path(tmp_path, "a").exists()
