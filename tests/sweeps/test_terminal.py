"""What a launch shows while it trains: fits every terminal, time left first; a line a minute where there is none."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from pipeline.store.progress import Progress, summed
from sweeps.command.terminal.display import Display
from sweeps.command.terminal.phases import is_live, phases
from sweeps.command.terminal.rendering import folded, picture
from sweeps.command.terminal.view import DisplayedSweep, Line, Speed, time_left_s

SIZES = [(80, 23), (60, 19), (200, 49), (40, 11), (24, 5)]


def progress(num_runs=96, done=0, converged=0, running=0, run_steps=0, left=0):
    return Progress(num_runs, done, converged, 0, 0, run_steps, left, running)


def plan_of(num_settings, num_packs=2, label="model.head_width"):
    """A plan document of settings that have 96 runs each, dealt to packs one after another."""
    settings = {f"s{number}": {label: number} for number in range(num_settings)}
    runs = [{"run_id": f"{setting}-{seed}", "setting_id": setting} for setting in settings for seed in range(4)]
    ids = [run["run_id"] for run in runs]
    packs = [{"pack_id": f"p{number}", "run_ids": ids[number::num_packs]} for number in range(num_packs)]
    return {"name": "planted", "settings": settings, "varied": [label], "runs": runs, "packs": packs}


def packs_of(plan, running=2, run_steps=0):
    """Planted progress of every pack: of each setting `running` runs train, the others wait."""
    setting_of = {row["run_id"]: row["setting_id"] for row in plan["runs"]}
    found = {}
    for pack in plan["packs"]:
        parts = {}
        for setting in dict.fromkeys(setting_of[run_id] for run_id in pack["run_ids"]):
            num_runs = sum(setting_of[run_id] == setting for run_id in pack["run_ids"])
            parts[setting] = progress(num_runs, running=min(running, num_runs), run_steps=run_steps, left=100)
        found[pack["pack_id"]] = replace(summed(parts.values()), by_setting=parts)
    return found


def drawn(view, width, height):
    """The lines of a picture on a terminal of this size, as text."""
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, soft_wrap=True)
    console.print(picture(view, width, height))
    text = re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue())
    return text.splitlines()


def view_of(num_settings, num_packs=2, failures=None, label="model.head_width"):
    plan = plan_of(num_settings, num_packs, label)
    packs, speed = packs_of(plan), Speed(30.0)
    for now_s in (0.0, 10.0):
        for pack_id, each in packs_of(plan, run_steps=int(100 * now_s)).items():
            speed.add(pack_id, now_s, each)
    return DisplayedSweep(plan).view(packs, tuple(packs), speed, "training", 10.0, failures or {})


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("num_settings", [1, 2, 12, 60])
@pytest.mark.parametrize("num_packs", [1, 4, 64])
def test_no_picture_is_wider_or_higher_than_its_terminal(width, height, num_settings, num_packs):
    failures = {f"p{number}": "StoreError: " + "x" * 300 for number in range(5)}
    for view in (view_of(num_settings, num_packs), view_of(num_settings, num_packs, failures, "model." + "long_" * 30)):
        lines = drawn(view, width, height)
        assert max(map(len, lines)) <= width
        assert len(lines) <= height
        assert lines[0].startswith("at most ")


def test_the_time_left_is_that_of_all_packs_together_and_of_the_slowest_of_them():
    left = [progress(left=1000), progress(left=100), progress(left=300)]
    assert time_left_s(left, [(left[0], 50.0), (left[1], 50.0)]) == 1000 / 50
    assert time_left_s(left, [(left[0], 100.0), (left[1], 10.0)]) == 1400 / 110
    assert time_left_s(left, []) is None


def test_between_two_packs_the_time_left_is_by_the_last_speed():
    plan, speed = plan_of(2), Speed(30.0)
    packs, sweep = packs_of(plan), DisplayedSweep(plan)
    for now_s, run_steps in ((0.0, 0), (10.0, 500)):
        speed.add("p0", now_s, replace(packs["p0"], run_steps=run_steps))
    training = sweep.view(packs, ("p0",), speed, "training", 10.0, {})
    between = sweep.view(packs, (), speed, "training", 11.0, {})
    assert (training.speed, between.speed) == (50.0, 0.0)
    assert training.time_left_s == between.time_left_s == 400 / 50


def test_where_there_are_more_settings_than_lines_the_rest_is_counted():
    done = Line("done", progress(done=96), 0.0)
    waiting, running = Line("waiting", progress(), 0.0), Line("running", progress(running=5), 9.0)
    shown = folded([done] * 10 + [waiting] * 20 + [running] * 3, 5, "setting")
    assert [line if isinstance(line, str) else line.label for line in shown] == [
        "waiting", "running", "running", "running", "and 29 more settings: 19 waiting, 10 done",
    ]  # fmt: skip
    assert folded([waiting] * 5, 5, "setting") == [waiting] * 5
    assert drawn(view_of(60), 80, 23)[-1].startswith("2 of 2: ")
    assert any(re.match(r"and 4\d more settings: 4\d in training", line) for line in drawn(view_of(60), 80, 23))


def test_a_wide_terminal_shows_every_setting_with_its_counts_and_speed():
    lines = drawn(view_of(12), 200, 49)
    (line,) = (line for line in lines if line.startswith("head_width=7 "))
    # Two packs with two runs of it each, of which all train.
    assert line.split() == ["head_width=7", "0/4", "0", "4", "0", "200"]


@pytest.mark.parametrize("width", [60, 80])
def test_a_long_label_is_cut_and_no_number_is(width):
    lines = drawn(view_of(3, label="model." + "long_" * 30), width, 23)
    rows = [line for line in lines if line.startswith("long_long_")]
    assert len(rows) == 3
    for row in rows:
        label, _, numbers = row.partition("\u2026")
        assert len(label) >= width // 3
        assert numbers.split()[0] == "0/4"
        assert re.fullmatch(r"[\d,/ ]+", numbers)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def plain():
    """A display without a terminal, its clock, and what it printed so far."""
    console, clock = Console(file=io.StringIO(), width=80, soft_wrap=True), Clock()
    plan = plan_of(2)
    return Display(console, plan, packs_of(plan, running=0), clock), clock, console.file.getvalue


def test_without_a_terminal_it_is_a_line_a_minute(plain):
    display, clock, printed = plain
    with display:
        for second in range(1, 181):
            clock.now = float(second)
            display.update("p0", replace(display.packs["p0"], run_steps=10 * second))
        lines = printed().splitlines()
        assert len(lines) == 3
        assert all(re.fullmatch(r"at most .* left: 0/8 runs done, .*, 10 run-steps/s", line) for line in lines)
    assert printed().splitlines()[-1] == "0/8 runs done, 0 converged, 0 diverged, 10 run-steps/s"


def test_without_a_terminal_every_change_of_phase_and_every_failure_is_a_line(plain):
    display, _, printed = plain
    with display:
        for phase in ("starting Ray", "training", "training", "stopping"):
            display.phase(phase)
        display.fail("p1", "[its] worker died")
        assert printed().splitlines() == [
            "planted: starting Ray", "planted: training", "planted: stopping", "pack p1 failed: [its] worker died",
        ]  # fmt: skip


def test_phases_before_a_sweep_is_known_are_lines_of_which_numbers_make_no_new_one():
    console = Console(file=io.StringIO())
    with phases(console) as phase:
        for told in ("timing 1 of 2", "compiling 1 of 2", "timing 2 of 2", "compiling 2 of 2", "starting Ray"):
            phase(told)
    assert console.file.getvalue().splitlines() == ["timing 1 of 2", "compiling 1 of 2", "starting Ray"]
    with phases(console, is_quiet=True) as phase:
        phase("reading 3,200 histories")
    assert "reading" not in console.file.getvalue()


@pytest.mark.parametrize(("terminal", "expected"), [("xterm", True), ("dumb", False), ("unknown", False)])
def test_a_terminal_that_cannot_be_drawn_over_gets_lines(terminal, expected):
    console = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": terminal})
    assert is_live(console) is expected


def test_no_color_is_respected():
    console = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "xterm", "NO_COLOR": "1"})
    console.print(picture(view_of(12, failures={"p0": "x"}), 80, 23))
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", console.file.getvalue())


class Closed(io.StringIO):
    def write(self, text):
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("terminal", ["xterm", "dumb"])
def test_a_terminal_that_has_closed_does_not_end_the_launch(terminal):
    plan = plan_of(2)
    console = Console(file=Closed(), force_terminal=True, _environ={"TERM": terminal})
    with Display(console, plan, packs_of(plan, running=0)) as display:
        display.phase("training")
        display.update("p0", packs_of(plan)["p0"])
        display.fail("p1", "x")
        assert display.view().total.num_running == 4
