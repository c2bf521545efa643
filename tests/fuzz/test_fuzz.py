"""A slice of `make fuzz`, and that its judgement finds what it looks for."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from sweeps.cli.__main__ import app
from tests.fuzz import command_lines, environments, results_folders, sweep_files, table
from tests.fuzz.case import Case
from tests.fuzz.judging import problems, state
from tests.fuzz.odd_values import mutated, places
from tests.fuzz.server import Answer, seen

ROOT = Path(__file__).resolve().parents[2]
NUM_INPUTS = 8
PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}


# A quarter of a minute of an idle core; more on a busy one.
@pytest.mark.timeout(600)
def test_a_slice_of_all_inputs_is_answered_well(tmp_path):
    options = ["--inputs", str(NUM_INPUTS), "--seed", "7", "--to", str(tmp_path / "answers.jsonl")]
    ended = subprocess.run([sys.executable, "-m", "tests.fuzz.run", *options], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [answer["number"] for answer in answers] == list(range(NUM_INPUTS))
    # Some inputs are good, more are refused.
    codes = [answer["code"] for answer in answers]
    assert 0 < codes.count(0) < codes.count(2)


def judged(
    line="status r", code=2, out="", err="r: holds no sweep", changed=(), late=False, cpu_s=0.1, mib=100.0, name="r"
):
    """The problems of one answer."""
    case = Case("x", tuple(line.split()), names=(name,))
    answer = Answer(code, out, err, cpu_s, 1.0, mib, late)
    return list(problems(case, answer, {}, dict.fromkeys(changed, (1,))))


def test_a_refusal_in_a_sentence_is_a_good_answer_and_so_is_a_result():
    assert judged() == []
    assert judged(code=0, out="4/4 runs done", err="") == []
    assert judged(name="r//") == []
    assert judged("launch s.yaml", code=-9, out="s: 4 runs", err="", late=True, cpu_s=2.0) == []


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"err": "Traceback (most recent call last)"}, "traceback"),
        ({"code": 1, "err": "KeyError: 'r'; a mistake in seedbed or in code given to it"}, "not foreseen"),
        ({"late": True, "code": -9}, "late"),
        ({"cpu_s": 3.2}, "late"),
        ({"mib": 1100.0}, "memory"),
        ({"err": "r: memory has run out"}, "memory"),
        ({"code": -11}, "exit code -11"),
        ({"code": 120}, "exit code 120"),
        ({"err": ""}, "exit code 2 without a word"),
        ({"line": "forecast r", "err": "", "out": "r"}, "nothing on standard error"),
        ({"err": "no such file"}, "names no file"),
        ({"err": "no such file", "name": "/"}, "names no file"),
        ({"err": "r: \x1b[31m"}, "prints a control character"),
        ({"changed": ["work/other"]}, "writes 'work/other'"),
        ({"changed": ["work/r/sweep.json"]}, "writes 'work/r/sweep.json'"),
        ({"line": "repair r", "changed": ["work/s"]}, "writes 'work/s'"),
        ({"line": "launch s.yaml", "code": -9, "late": True, "err": ""}, "late"),
    ],
)
def test_a_bad_answer_is_found(answer, problem):
    assert [found.startswith(problem) for found in judged(**answer)] == [True]


def test_what_a_command_names_may_be_written():
    assert judged("repair r", changed=["work/r/sweep.json", "tmp/x", "home/.cache/seedbed/y"]) == []
    assert judged("fit r --out new/f.json", changed=["work/new", "work/new/f.json"]) == []
    assert judged("new task mine", changed=["work/mine.py", "work/mine.yaml"]) == []
    assert judged("new task mine", changed=["work/s.yaml"]) == ["writes 'work/s.yaml'"]
    assert judged("analyse a b --scores", changed=["work/a+b", "work/a+b/x"]) == []
    assert judged("analyse a b --scores", changed=["work/a+c"]) == ["writes 'work/a+c'"]
    assert judged("checkpoint a", changed=["work/a7ff62f87761010a-20.ckpt"]) == []
    assert judged("checkpoint a", changed=["work/a.ckpt"]) == ["writes 'work/a.ckpt'"]
    assert judged("plan mine", changed=["work/mine.yaml"]) == ["writes 'work/mine.yaml'"]


@pytest.mark.parametrize(("code", "sleeps"), [("input()", True), ("while True: pass", False)])
def test_who_sleeps_is_told_from_who_computes_or_waits_for_a_processor(code, sleeps):
    with subprocess.Popen([sys.executable, "-Sc", f"print(flush=True)\n{code}"], **PIPES) as process:
        try:
            process.stdout.readline()
            deadline = time.monotonic() + 20
            while (found := seen(process.pid))[0] != sleeps and time.monotonic() < deadline:
                time.sleep(0.01)
        finally:
            process.kill()
    assert found[0] == sleeps
    assert found[1] < 20
    assert seen(process.pid) == (False, 0.0)


def test_a_file_that_is_written_to_is_seen(tmp_path):
    (tmp_path / "a").write_text("x")
    before = state(tmp_path)
    assert before == state(tmp_path)
    (tmp_path / "a").write_text("y")
    assert before != state(tmp_path)


def test_the_command_lines_know_every_command_and_option():
    commands = typer.main.get_command(app).commands
    assert commands.keys() == command_lines.COMMANDS.keys()
    for name, (given, options) in command_lines.COMMANDS.items():
        real = {text for parameter in commands[name].params for text in parameter.opts if text.startswith("--")}
        assert {option for option, _ in options} == real - {"--help"}, name
        arguments = [parameter for parameter in commands[name].params if parameter.param_type_name == "argument"]
        assert len({*given}) >= len(arguments), name


def test_inputs_depend_on_their_seed_alone(tmp_path):
    for draw in (
        sweep_files.draw,
        lambda chance: results_folders.draw(chance, tmp_path),
        lambda chance: command_lines.draw(chance, lambda work, named: None),
        lambda chance: environments.draw(chance, tmp_path),
    ):
        cases = [draw(random.Random(f"seed/{number}")) for number in (1, 1, 2, 3, 4, 5)]
        shown = [(case.kind, case.arguments, dict(case.environment)) for case in cases]
        assert shown[0] == shown[1]
        assert len({repr(each) for each in shown}) > 2


def test_a_mutation_leaves_its_original_alone_and_changes_it_most_times():
    original = {"a": [1, 2, {"b": "x"}], "c": None}
    before = json.dumps(original)
    found = [mutated(original, random.Random(seed)) for seed in range(60)]
    assert json.dumps(original) == before
    assert sum(repr(value) != repr(original) for value in found) > 40
    assert ("a", 2, "b") in places(original)


def test_the_table_counts_inputs_by_kind_and_a_page_shows_one():
    good = {"kind": "environment", "problems": [], "code": 2, "cpu_s": 0.5, "peak_mib": 300.0}
    bad = {**good, "problems": ["late: 4 s", "names no file: x"], "cpu_s": 4.0}
    assert table.lines([good, bad], 1)[-1] == "| all | 2 | 1 | 0 | 1 | 0 | 0 | 1 | 0 | 0 | 4.0 | 300 |"
    assert "Some were not answered well" in table.lines([good, bad], 1)[0]
    # 3 in n, where n are many.
    assert "at most 0.03% of such inputs" in table.lines([good] * 10_000, 1)[0]
    mended = table.lines([good] * 9_990 + [{**good, "was_bad": True}] * 10, 1)[0]
    assert "When first tried, 10 were not (0.10%, 0.05% to 0.18%)" in mended
    assert [table.PAGE.read_text(encoding="utf-8").count(marker) for marker in table.MARKERS] == [1, 1]
