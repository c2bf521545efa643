"""docs/data.md: its files are valid, its commands work in order, and the example sweeps learn."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.examples.__main__ import PANELS, told
from pipeline.own_code import imported
from pipeline.spec.sweep import load_spec
from sweeps.cli.__main__ import app
from tests.support import trained

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
NAMED = dict(
    re.findall(
        r"`(moons\S*\.(?:py|yaml))`[^`]*```(?:python|yaml)\n(.*?)```",
        PAGE.replace("([extending](extending.md#a-model))", ""),
        re.S,
    )
)
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
SNIPPET = PAGE.rpartition("```python\n")[2].partition("```")[0]
EXAMPLES = {path.stem: path for path in (ROOT / "sweeps" / "examples").glob("*.yaml")}


@pytest.fixture(autouse=True)
def _apart(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = set(imported._modules)
    yield
    for entry in set(imported._modules) - before:
        imported.forget(entry)


@pytest.mark.slow
def test_every_command_of_the_page_works_in_order(tmp_path, monkeypatch, capsys):
    home = tmp_path / "home"
    home.mkdir()
    for name, text in NAMED.items():
        (home / name).write_text(text)
    (home / "sweeps").symlink_to(ROOT / "sweeps")
    monkeypatch.chdir(home)
    assert len(COMMANDS) == 7
    for command in COMMANDS:
        program, *arguments = shlex.split(command)
        if program == "python":
            exec((home / arguments[0]).read_text(), {})
            continue
        # Mirroring is a process more, and other settings are more of the same.
        more = ["tracking.mode=disabled"] if arguments[0] == "launch" else []
        more += ["vary=[]", "resources.slots=3"] if "--smoke" in arguments else []
        done = CliRunner().invoke(app, [*arguments, *more])
        assert done.exit_code == 0, f"{command}\n{done.output}{done.stderr}\n{done.exception}"
    capsys.readouterr()
    exec(SNIPPET, {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run_id", "outcome_fitted", "outcome_by_fitted", "outcome", "outcome_by"]
    kinds = "converged|unconverged"
    assert all(re.fullmatch(rf"\d +[0-9a-f]{{16}} +({kinds}) +\d+ +({kinds}) +\d+", line) for line in lines[1:])
    assert len(lines) == 9
    analysed = json.loads((home / "results/moons/criterion-train_loss-at-most-0.1/analysis.json").read_bytes())
    assert [row["outcome"] for row in analysed["runs"]] == [line.split()[2] for line in lines[1:]]


def test_the_page_names_every_parameter_of_the_task():
    from pipeline.tasks.base import TASKS

    told = set(re.findall(r"`([a-z_]+)`", PAGE)) | set(re.findall(r"`?([a-z_]+): ", PAGE))
    assert set(TASKS["dataset"].model_fields) <= told


# Enough steps to see the loss fall; at those of the files this is a matter of minutes.
BUDGETS = {"digits": 60, "shapes": 60, "text": 20, "grokking": 40, "dropout": 60}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_learns(name, tmp_path):
    budget = BUDGETS[name]
    changes = ["vary=[]", "seeds={together: [0]}", f"budget={budget}", f"grid={{chunk: {budget // 2}, eval_items: 64}}"]
    changes += ["windows=[]", "resources={engine: torch, slots: 1}", "snapshots={}", "tracking.mode=disabled"]
    changes += ["batch_size=128", "optimiser.lr=1e-2"] if name == "grokking" else []
    spec = load_spec(EXAMPLES[name], changes)
    losses_RT = trained(spec, tmp_path / "r").history().values["train_loss"]
    first, last = losses_RT[0][np.isfinite(losses_RT[0])][[0, -1]]
    assert last < 0.97 * first
    assert last < spec.task.chance_loss() * (1.05 if name == "text" else 1)


def test_the_caption_counts_the_examples_that_its_picture_has():
    nothing = SimpleNamespace(runs=())
    assert "of the three examples" in next(told(dict.fromkeys("abc", nothing)))
    assert next(told(dict.fromkeys(PANELS, nothing))) in PAGE
