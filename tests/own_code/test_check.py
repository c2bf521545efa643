"""`seedbed check`: what breaks a contract is told by clause, file and line; templates keep theirs."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.contracts.small_sweeps import tasks_for
from pipeline.models.base import MODELS
from pipeline.own_code.imported import load, resolved
from pipeline.store.pack_store import StoreError
from sweeps.cli.consoles import PlainConsole
from sweeps.command.own import checking
from sweeps.command.own.creating import create
from sweeps.command.own.kinds import KINDS_OF_CODE
from sweeps.command.own.pricing import price
from tests.support import SOURCES


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    """Prices are measured in no time."""
    monkeypatch.setattr("sweeps.command.own.pricing._TIMED_S", 0.0)


def checked(*files):
    """(exit code, what is printed) of `seedbed check FILES`."""
    out = PlainConsole(file=io.StringIO(), width=200)
    code = checking.run_check(files, out)
    return code, out.file.getvalue()


def test_there_is_a_contract_of_every_kind():
    assert checking.CONTRACTS.keys() == KINDS_OF_CODE.keys()


def test_links_in_a_circle_are_refused_by_name(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(StoreError, match="loop"):
        checked(tmp_path / "loop")


def marked(kind):
    """The kinds that compile programs are of `make contract-test`; the commands of extending.md check a task."""
    return pytest.param(kind, marks=[pytest.mark.slow] if kind in ("model", "optimiser", "schedule") else [])


@pytest.mark.native
@pytest.mark.parametrize("kind", [marked(kind) for kind in KINDS_OF_CODE if kind not in ("task", "statistic")])
def test_what_seedbed_new_writes_keeps_its_contracts(kind, tmp_path):
    create(kind, "fox", tmp_path, None, PlainConsole(file=io.StringIO()))
    code, told = checked(tmp_path / "fox.py")
    assert code == 0, told
    num_clauses = sum(len(contract.clauses()) for contract in checking.CONTRACTS[kind])
    assert f"all {num_clauses} clauses hold" in told


BROKEN = (
    SOURCES["pipeline/tasks/majority.py"]
    .replace("return 0.0", "return 0.9")
    .replace("        return -predictions", "        raise RuntimeError('no\\nlosses')\n        return -predictions")
)


def test_a_broken_clause_is_told_by_number_sentence_file_and_line(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text(BROKEN)
    code, told = checked(file)
    lines = BROKEN.splitlines()
    raising = 1 + next(number for number, line in enumerate(lines) if "raise RuntimeError" in line)
    beginning = 1 + lines.index("class Majority(Task):")
    assert code == 1
    assert "  clause 4 is broken: `losses` gives one loss per question, (S, B * Q), finite for finite" in told
    assert f"    {file}:{raising}: RuntimeError: no losses" in told
    assert "  clause 5 is broken: `floor_loss() < chance_loss()`" in told
    assert f"    {file}:{beginning}: floor_loss is 0.9 and chance_loss 0.6931" in told
    assert "  clause of runs 1 is broken: The run rule" in told
    assert "clauses are broken" in told
    assert "clause 1 is broken" not in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1 / 0\n", r"one\.py:1: ZeroDivisionError"),
        ("class One:\n    name = 'one'\n", "no class with a `name` that is a task, model, .* stopping rule"),
        (SOURCES["pipeline/tasks/majority.py"].replace('"majority"', '"sparse_parity"'), "two classes are called"),
    ],
)
def test_a_file_that_cannot_be_checked_is_refused_in_a_sentence(text, told, tmp_path):
    (tmp_path / "one.py").write_text(text)
    with pytest.raises((StoreError, ValueError), match=told):
        checked(tmp_path / "one.py")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"there is no file .*none\.py"):
        checked(tmp_path / "none.py")


def test_a_file_of_seedbeds_own_folders_is_checked_as_what_it_is():
    from pipeline.stopping import run_to_budget

    code, told = checked(Path(run_to_budget.__file__))
    assert code == 0
    assert "class RunToBudget of pipeline.stopping.run_to_budget" in told


@pytest.mark.native
def test_what_a_model_costs_is_measured_beside_ours(tmp_path):
    (tmp_path / "flat.py").write_text(SOURCES["pipeline/models/flat.py"])
    module = load(resolved("./flat.py", tmp_path))
    steps, compiled = price(module.Flat, "model")
    assert re.search(r"a step of a run takes [\d.]+ [um]s by torch, 16 runs side by side", steps)
    assert "with our model attention_only in its place" in steps
    assert re.search(r"it has a compiled form, which takes [\d.]+ [um]s: \d+ times as fast", compiled)


@pytest.mark.native
def test_what_it_costs_that_an_optimiser_has_no_compiled_form_is_measured(tmp_path):
    source = SOURCES["pipeline/optimisers/lion.py"].replace(".sign_()", " / grad_SP.norm()")
    (tmp_path / "lion.py").write_text(source)
    _, compiled = price(load(resolved("./lion.py", tmp_path)).Lion, "optimiser")
    assert re.search(r"no compiled form, so its runs are trained by torch; ours, compiled, takes [\d.]+ ", compiled)


def test_it_needs_no_pytest(tmp_path):
    code = (
        "import sys; sys.modules['pytest'] = None; from sweeps.cli import __main__ as cli; "
        f"sys.argv = ['seedbed', 'check', {str(tmp_path / 'rule.py')!r}]; cli.main()"
    )
    (tmp_path / "rule.py").write_text(SOURCES["pipeline/stopping/no_progress.py"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "all 4 clauses hold" in done.stdout


def test_a_model_of_sizes_that_no_task_here_has_is_told_once_and_sent_to_the_data_of_its_sweep(tmp_path):
    create("data", "hare", tmp_path, None, PlainConsole(file=io.StringIO()))
    text = (tmp_path / "hare.py").read_text()
    (tmp_path / "hare.py").write_text(text.replace("task_shape.length * task_shape.size", "6401"))
    code, told = checked(tmp_path / "hare.py")
    assert code == 1
    told = " ".join(told.split())
    assert re.search(r"hare\.py:\d+: it cannot be tried: HareNet raises on a batch of inputs \(4, .*RuntimeError", told)
    assert told.count("cannot be tried") == 1
    assert "it is tried on the data of its sweep alone, by `seedbed plan`" in told
    assert "clause" not in told


def test_a_model_is_tried_on_the_tasks_whose_sizes_it_takes(tmp_path):
    create("data", "lynx", tmp_path, None, PlainConsole(file=io.StringIO()))
    text = (tmp_path / "lynx.py").read_text()
    sizes = "2 * task_shape.length if task_shape.size == 2 else 7"
    (tmp_path / "lynx.py").write_text(text.replace("task_shape.length * task_shape.size", sizes))
    load(resolved("./lynx.py", tmp_path))
    assert [task.name for task in tasks_for(MODELS["lynx"])] == ["sine_regression"]
