"""Who may import whom, as docs/design.md says."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = [path for package in ("pipeline", "analysis", "sweeps") for path in (ROOT / package).rglob("*.py")]
OURS = ("pipeline", "analysis", "sweeps")
FOR_ANALYSIS = {f"pipeline.{name}" for name in ("spec", "history", "store", "criterion", "registry", "stopping.base")}
TORCH_FREE = "spec planning grid history store storage criterion registry parameters results tasks.base models.base"


def imported(path, top_level_only=False):
    """Names of the modules that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def top(names):
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_keep_to_the_rules(path):
    package, names = path.relative_to(ROOT).parts[0], imported(path)
    ours = {name for name in names if name.partition(".")[0] in OURS}
    if package == "pipeline":
        assert not top(names) & {"analysis", "sweeps"}
    if package == "analysis":
        assert {name for name in ours if not name.startswith("analysis")} <= FOR_ANALYSIS
        assert not top(names) & {"torch", "lightning", "ray", "wandb"}
    if path != ROOT / "pipeline" / "launch.py":
        assert "ray" not in top(names)
    if path != ROOT / "pipeline" / "tracking.py":
        assert "wandb" not in top(names)
    if package != "sweeps":
        assert "sweeps" not in top(names)


@pytest.mark.parametrize("path", [p for p in FILES if p.name == "__init__.py"], ids=lambda path: path.parent.name)
def test_init_files_are_empty(path):
    assert not path.read_text().strip()


def loaded(statement):
    """Top-level modules that are loaded after a statement in a fresh process."""
    code = f"{statement}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_a_spec_is_planned_without_torch():
    modules = ", ".join(f"pipeline.{name}" for name in TORCH_FREE.split())
    code = f"import {modules}; pipeline.spec.load_spec({str(ROOT / 'sweeps/quickstart.yaml')!r}).runs()"
    assert not loaded(code) & {"torch", "lightning", "ray", "wandb"}


def test_a_pack_is_trained_without_ray_and_wandb():
    assert not loaded("import pipeline.worker, pipeline.launch, pipeline.replay") & {"ray", "wandb"}


def test_analysis_loads_no_torch():
    code = "import analysis.analyse, analysis.report, analysis.plots"
    assert not loaded(code) & {"torch", "lightning", "ray", "wandb"}
