"""Bars for long loops: which commands have them, and what a terminal shows."""

from __future__ import annotations

import io
import threading

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from analysis.forecasting.evaluation import evaluate
from analysis.outcomes.outcomes import decide_outcomes
from analysis.predictors.base import PREDICTORS
from analysis.uncertainty import blocks
from benchmarks.page.stub_sweep import BUDGET, commit, planned
from pipeline.long_loops import loop_over, loops_watched_by
from sweeps.cli.__main__ import app
from sweeps.command.terminal import bars as shown
from sweeps.command.terminal.bars import bars
from sweeps.command.terminal.phases import phases
from tests.analysis.synthetic import synthetic_history

# Of every command that reads a sweep: its arguments, and the loops that it tells of, among others.
LOOPS = {
    "status": (["FOLDER"], {"reading commits"}),
    "verify": (["FOLDER"], {"checking files", "checking commits"}),
    "export": (["FOLDER"], {"reading histories"}),
    "compare": (
        ["FOLDER", "--arms", "model.head_width=4", "model.head_width=3", "--where", "optimiser.lr=0.001"],
        {"reading histories"},
    ),
}
SLOW_LOOPS = {
    "list": ([], {"reading sweeps"}),
    "analyse": (["FOLDER"], {"reading histories", "forecasting 40 runs, each by models that saw none of its seeds"}),
    "report": (["FOLDER"], {"reading histories", "drawing figures"}),
    "forecast": (["FOLDER"], {"reading histories"}),
    "fit": (["FOLDER", "--out", "FOLDER/fitted.json"], {"reading histories", "fitting forecasts to 40 runs"}),
}
# Begin with the loops of `verify` or `status`, or read as `analyse` does, and then train.
AS_OTHERS = {"repair", "resume", "launch", "work", "policy", "benchmark", "ceiling", "look-ahead", "twins", "search",
             "reproduce", "read", "analyze"}  # fmt: skip
# Of one run; show a page, or follow a sweep; copy from object stores (tests/store); say in words what they wait for.
WITHOUT = {"checkpoint", "replay", "watch", "mirror", "dashboard", "fetch", "plan", "new", "check"}


class Recorder:
    """A watcher that keeps the loops that it is told of, with the shares of each, and counts those that ended."""

    def __init__(self):
        self.loops, self.num_ended = [], 0

    def begin(self, what):
        self.loops.append((what, []))

    def show(self, share):
        self.loops[-1][1].append(share)

    def end(self):
        self.num_ended += 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    store = planned(tmp_path_factory.mktemp("bars") / "sweep", 40)
    for pack_id in store.pack_ids():
        commit(store, pack_id, 1, BUDGET, since=0)
    return store.folder


def test_every_command_is_among_those_with_bars_or_those_without():
    known = set(typer.main.get_command(app).commands)
    assert known == LOOPS.keys() | SLOW_LOOPS.keys() | AS_OTHERS | WITHOUT


@pytest.mark.parametrize("command", [*LOOPS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_LOOPS)])
def test_a_command_tells_of_its_loops_until_they_are_done(command, folder, tmp_path):
    arguments, expected = (LOOPS | SLOW_LOOPS)[command]
    recorder = Recorder()
    with loops_watched_by(recorder):
        found = CliRunner().invoke(app, [command, *(one.replace("FOLDER", str(folder)) for one in arguments)])
    assert found.exit_code == 0, found.output
    assert expected <= {what for what, _ in recorder.loops}
    assert all(shares == sorted(shares) and shares[-1] == 1 for _, shares in recorder.loops if shares)


@pytest.mark.parametrize("cores", [1, 3])
def test_the_windows_of_an_evaluation_are_one_loop(cores, monkeypatch):
    monkeypatch.setattr(blocks, "_num_cores", lambda: cores)
    history = synthetic_history(2, 12)
    predictors = {name: PREDICTORS[name]() for name in ("base_rate", "last_loss")}
    recorder = Recorder()
    with loops_watched_by(recorder):
        evaluate(history, decide_outcomes(history), (0.1, 0.25), predictors, bootstrap=5)
    ((what, shares),) = recorder.loops
    assert what.startswith("forecasting 24 runs")
    assert shares == sorted(shares)
    # Each window has two halves, fits and scores; every fold of both predictors is told of.
    assert {0.25, 0.5, 0.75, 1} <= set(shares)
    assert len(set(shares)) > 12


def test_a_loop_in_a_pass_counts_as_that_part_of_it_and_errors_end_loops():
    recorder = Recorder()
    with loops_watched_by(recorder):
        for _ in loop_over("outer", range(2)):
            for _ in loop_over("inner", range(2)):
                pass
        with pytest.raises(ZeroDivisionError):
            _ = [1 // number for number in loop_over("broken", [1, 0, 1])]
        with loops_watched_by(None):
            assert list(loop_over("silent", [1])) == [1]
    assert recorder.loops == [("outer", [0.25, 0.5, 0.5, 0.75, 1, 1]), ("broken", [1 / 3])]
    assert recorder.num_ended == 2


def terminal(is_one):
    return Console(file=io.StringIO(), force_terminal=is_one, width=100, _environ={"TERM": "xterm"})


def shown_by(console, monkeypatch, patience_s):
    """What a loop of two passes leaves in the console's file, once its bar had the time to be drawn."""
    monkeypatch.setattr(shown, "_PATIENCE_S", patience_s)
    with bars(console):
        for number in loop_over("forecasting [3] runs", range(2)):
            # Until the timer has drawn the bar.
            for thread in threading.enumerate() if number else ():
                if isinstance(thread, threading.Timer):
                    thread.join(5)
    return console.file.getvalue()


def test_a_terminal_shows_a_bar_that_goes_away_and_nothing_else_does(monkeypatch):
    text = shown_by(terminal(True), monkeypatch, 0.0)
    assert "forecasting [3] runs" in text
    assert "100%" in text
    assert text.endswith("\x1b[2K"), "the line is erased"
    assert shown_by(terminal(False), monkeypatch, 0.0) == ""


def test_a_loop_that_is_soon_done_has_no_bar_and_one_behind_a_phase_none(monkeypatch):
    monkeypatch.setattr(shown, "_PATIENCE_S", 60.0)
    console = terminal(True)
    with bars(console):
        list(loop_over("reading", range(3)))
    assert console.file.getvalue() == ""
    recorder = Recorder()
    with loops_watched_by(recorder), phases(terminal(True)) as phase:
        phase("planning")
        list(loop_over("reading", range(3)))
    assert not recorder.loops
