"""Where seedbed runs: other systems are refused in a sentence, and what a missing compiler costs is told."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline.launch.planned import plan_on
from pipeline.numerics import compiler
from pipeline.planning.packs import Machine
from sweeps.cli import supported
from tests.support import tiny


@pytest.mark.parametrize(("platform", "name"), [("darwin", "macOS"), ("win32", "Windows"), ("freebsd14", "freebsd14")])
def test_another_system_is_refused_in_one_sentence_before_anything_is_imported(platform, name):
    code = (
        f"import sys; sys.platform = {platform!r}; sys.modules['fcntl'] = None\n"
        "from sweeps.cli.entry import main\n"
        "try:\n    main()\n"
        "finally:\n    assert not {'torch', 'typer', 'pipeline'} & {name.partition('.')[0] for name in sys.modules}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"seedbed runs on Linux alone, and this is {name}: use a Linux machine, a container")


def test_the_module_refuses_another_system_too(monkeypatch, capsys):
    from sweeps.cli import __main__ as cli

    monkeypatch.setattr(supported.sys, "platform", "darwin")
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "this is macOS" in capsys.readouterr().err


def reason():
    """Why the packs of a small sweep are planned as they are."""
    spec = tiny("linear_regression", resources={"engine": "auto", "slots": 4})
    return plan_on(spec, Machine.cpu(1)).packs[0].reason


def test_a_plan_without_a_compiler_says_what_that_costs_and_how_to_install_it(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    found = reason()
    assert "there is no g++ here that works; compiled programs are " in found
    assert " times as fast as torch" in found
    assert compiler.HOW_TO_INSTALL in found
    assert "apt install g++" in found


def test_a_plan_where_compiled_programs_are_forbidden_says_so(monkeypatch):
    monkeypatch.setenv("SEEDBED_NATIVE", "0")
    assert "SEEDBED_NATIVE=0 forbids compiled programs; compiled programs are " in reason()
    assert "apt install" not in reason()
