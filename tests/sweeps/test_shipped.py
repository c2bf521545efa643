"""Sweeps that come with seedbed are found by name from any folder; a file that is there comes first."""

from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.spec.sweep import load_spec
from pipeline.store.pack_store import StoreError
from sweeps.cli.__main__ import app
from sweeps.cli.consoles import PlainConsole
from sweeps.command.own.listing import list_everything
from sweeps.command.request import Request
from sweeps.command.shipped import name_of, shipped_sweeps, sweep_file
from tests.sweeps.test_cli import run

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "sweeps" / "quickstart.yaml"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("given", ["quickstart", "quickstart.yaml", "sweeps/quickstart.yaml", "sweeps/quickstart"])
def test_a_sweep_is_found_by_its_name_from_any_folder(given):
    assert sweep_file(Path(given)) == QUICKSTART
    request = Request(Path(given))
    spec = request.spec()
    assert len(spec.runs()) == 192
    assert request.folder(spec) == Path("results/quickstart")


def test_every_sweep_that_is_listed_is_found_as_it_is_listed_and_by_its_folder_and_name():
    assert len(shipped_sweeps()) > 40
    for path in shipped_sweeps():
        assert sweep_file(Path(name_of(path))) == path
        assert sweep_file(Path(path.parent.name) / path.stem) == path or path.parent == ROOT / "sweeps"


def test_the_list_has_a_line_for_each_sweep_and_cuts_no_name(monkeypatch, capsys):
    narrow = PlainConsole(file=io.StringIO(), width=40, force_terminal=True)
    list_everything(narrow)
    code, piped = run(monkeypatch, capsys, "list")
    assert code == 0
    listed = [text.splitlines() for text in (narrow.file.getvalue(), piped)]
    for lines in listed:
        names = [line.split()[0] for line in lines[1 : len(shipped_sweeps()) + 1]]
        assert names[:2] == ["lsa_seeds", "quickstart"]
        assert sorted(names) == sorted(name_of(path) for path in shipped_sweeps())
    cut, whole = (next(line for line in lines if line.startswith("quickstart ")) for lines in listed)
    assert whole.endswith(load_spec(QUICKSTART).description)
    assert cut.endswith(" ...")
    assert len(cut) <= whole.index("Dictionary") + 20
    assert all(word in piped for word in ("dictionary_lookup", "logistic", "run_to_budget"))


def test_a_file_that_is_there_comes_first(tmp_path):
    (tmp_path / "quickstart").write_text("name: mine\n")
    assert sweep_file(Path("quickstart")) == Path("quickstart")


def test_a_name_that_is_none_is_refused_with_the_nearest():
    with pytest.raises(StoreError, match="file quickstrat: unknown sweep 'quickstrat'; did you mean 'quickstart'"):
        sweep_file(Path("quickstrat"))


def test_a_name_that_several_have_is_refused_with_all_of_them(monkeypatch):
    twice = [QUICKSTART.parent / folder / "one.yaml" for folder in ("a", "b")]
    monkeypatch.setattr("sweeps.command.shipped.shipped_sweeps", lambda: twice)
    with pytest.raises(StoreError, match="are called one: a/one, b/one"):
        sweep_file(Path("one"))


def test_a_path_that_is_none_is_left_to_be_missed():
    assert sweep_file(Path("my_sweep.yaml")) == Path("my_sweep.yaml")


def test_a_sweep_of_ones_own_is_made_into_a_folder_of_its_name():
    def results(*given):
        done = subprocess.run(["make", "-n", "sweep", *given], cwd=ROOT, capture_output=True, text=True, check=True)
        return re.findall(r"--results (\S+)", done.stdout)

    assert results() == ["results/quickstart"]
    assert results("SWEEP=there/my_sweep.yaml") == ["results/my_sweep"]
    assert results("SWEEP=there/my_sweep.yaml", "RESULTS=r") == ["r"]


def commands():
    """Every subcommand."""
    return sorted(found for found in re.findall(r"^│ ([a-z][a-z-]*) ", CliRunner().invoke(app, ["-h"]).output, re.M))


def test_every_command_explains_itself_by_either_option():
    assert {"launch", "new", "check", "list", "status"} <= set(commands())
    for command in commands():
        for option in ("-h", "--help"):
            found = CliRunner().invoke(app, [command, option])
            assert found.exit_code == 0
            assert "Example: seedbed " in re.sub(r"[│\s]+", " ", found.output), command
