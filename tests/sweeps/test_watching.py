"""`seedbed status --watch`: the display of a launch from the store alone, while the store changes."""

from __future__ import annotations

import io
import os
import re

import pytest
from rich.console import Console

from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from pipeline.training.open_pack import open_pack
from sweeps.command.terminal.watching import StoreWatch, watch_status
from tests.support import opened, tiny

SPEC = tiny(vary=[{"optimiser.lr": [0.001, 0.003]}], resources={"slots": 4})


@pytest.fixture
def store(tmp_path):
    return opened(SPEC, tmp_path / "r", num_workers=2)


def chunks(store, pack, number):
    """Train a pack by some chunks and commit."""
    loop = open_pack(store, store.pack_ids()[pack])
    for _ in range(number):
        loop.step()
    loop.commit()


def committed_at(store, pack, time_s):
    """Pretend that the newest commit of a pack was made at this time."""
    for path in store.pack(store.pack_ids()[pack]).folder.glob("*.record.json"):
        os.utime(path, (time_s, time_s))


def test_views_follow_the_store(store):
    now = [1000.0]
    watch = StoreWatch(store, lambda: now[0])
    view = watch.view()
    assert view.phase == "nothing is committed yet"
    assert (view.total.num_runs, view.total.num_waiting, len(view.packs), view.time_left_s) == (8, 8, 0, None)
    chunks(store, 0, 1)
    committed_at(store, 0, 1000.0)
    now[0] = 1012.0
    view = watch.view()
    assert view.phase == "training, newest commit 12 s ago"
    assert [line.label for line in view.packs] == ["1 of 2: 2 settings"]
    assert (view.total.num_running, view.total.run_steps, view.num_packs_waiting) == (4, 40, 1)
    assert [(line.label, line.progress.num_running) for line in view.settings] == [("lr=0.001", 2), ("lr=0.003", 2)]
    now[0] = 1300.0
    assert watch.view().phase == "stopped, it seems, newest commit 5 min 0 s ago"
    for pack in (0, 1):
        chunks(store, pack, 3)
    view = watch.view()
    assert (view.phase, view.total.num_done, view.packs) == ("complete", 8, ())


def test_speed_and_time_left_are_those_between_commits(store):
    now = [2000.0]
    watch = StoreWatch(store, lambda: now[0])
    for number in (1, 2):
        chunks(store, 0, 1)
        committed_at(store, 0, 1940.0 + 60 * (number - 1))
        watch.view()
    # 40 run-steps in the minute between, and what the first commit says of its own seconds.
    view = watch.view()
    assert view.total.run_steps == 80
    assert 0 < view.speed < 80 / 60 + 0.1
    assert view.time_left_s == pytest.approx(view.total.steps_left / view.speed)


def test_only_packs_that_have_committed_are_read_again(store, monkeypatch):
    for pack in (0, 1):
        chunks(store, pack, 1)
    watch = StoreWatch(store)
    watch.view()
    read = []
    newest = type(store.pack("x")).newest

    def noted(self, reads_files=True):
        read.append((self.folder.name, reads_files))
        return newest(self, reads_files)

    monkeypatch.setattr(type(store.pack("x")), "newest", noted)
    watch.view()
    assert not read
    chunks(store, 1, 1)
    read.clear()
    watch.view()
    assert read == [(store.pack_ids()[1], False)]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_it_ends_with_the_sweep_and_leaves_a_clean_screen(store, is_terminal):
    left = iter([lambda: chunks(store, 0, 3), lambda: chunks(store, 1, 3)])
    terminal = {"force_terminal": is_terminal, "_environ": {"TERM": "xterm"}}
    console = Console(file=io.StringIO(), width=60, height=20, soft_wrap=True, **terminal)
    watch_status(store, console, lambda seconds: next(left)())
    printed = console.file.getvalue()
    if is_terminal:
        # The other screen is entered once, left once, and last.
        assert (printed.count("\x1b[?1049h"), printed.count("\x1b[?1049l")) == (1, 1)
        assert printed.index("4/8 runs done") < printed.rindex("\x1b[?1049l")
    else:
        assert [re.search(r"left.*: (\d/8) runs done", line)[1] for line in printed.splitlines()] == ["0/8", "4/8"]


def test_ctrl_c_leaves_and_puts_the_screen_back(store):
    def interrupt(seconds):
        raise KeyboardInterrupt

    console = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "xterm"})
    watch_status(store, console, interrupt)
    assert console.file.getvalue().count("\x1b[?1049l") == 1


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(StoreError, match="holds no sweep"):
        watch_status(SweepStore(tmp_path), Console(file=io.StringIO()))
