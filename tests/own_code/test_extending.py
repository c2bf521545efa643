"""Every command of docs/extending.md, in order, in an empty folder."""

from __future__ import annotations

import re
import shlex

import pytest

from sweeps.cli import __main__ as cli
from tests.test_docs import PAGE

(BLOCK,) = re.findall(r"```bash\n(.*?)```", PAGE, re.S)
TOLD = {
    "new task": "my_task.yaml: a sweep that uses the task",
    "check my_task.py": "all 13 clauses hold",
    "plan": "8 runs in 1 setting,",
    "launch": "3/3 runs done",
    "list": "defined in my_task.py:",
    "new statistic": "seedbed analyse RESULTS --import my_statistic.py",
    "check my_statistic.py": "all 5 clauses hold",
    "analyse": "Note: forecasts learn from statistics of your own, too: my_statistic (my_statistic.py).",
}


@pytest.mark.native
def test_every_command_of_the_page_works_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sweeps.command.own.pricing._TIMED_S", 0.0)
    commands = [line.removeprefix("seedbed ") for line in BLOCK.splitlines()]
    assert len(commands) == len(TOLD)
    for command, (beginning, told) in zip(commands, TOLD.items(), strict=True):
        assert command.startswith(beginning)
        # What takes time has tests of its own: the mirror of the dashboards, and timing for the number of slots.
        quick = ["tracking.mode=disabled", "resources.slots=3", "batch_size=8"]
        more = quick if beginning in ("plan", "launch") else []
        monkeypatch.setattr("sys.argv", ["seedbed", *shlex.split(command), *more])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        assert not end.value.code, f"{command}\n{printed.out}{printed.err}"
        assert told in " ".join(printed.out.split()), f"{command}\n{printed.out}"
