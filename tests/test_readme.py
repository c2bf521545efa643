"""Every command of the README works, as a smoke version unless told otherwise; what it lists and shows is there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.planning.packs import expand
from pipeline.spec.search import load_search
from pipeline.spec.sweep import load_spec
from sweeps.command.shipped import shipped_sweeps
from tests.sweeps.test_cli import run

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXTENDING = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
PAPERS_PAGES = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "papers").glob("*.md"))
DATA_PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
LANDSCAPE_PAGE = (ROOT / "docs" / "landscape.md").read_text(encoding="utf-8")
BENCHMARK_PAGE = (ROOT / "sweeps" / "benchmark" / "README.md").read_text(encoding="utf-8")
IS_FULL = os.environ.get("SEEDBED_README") == "full"
BLOCKS = {language: re.findall(rf"```{language}\n(.*?)```", README, re.S) for language in ("bash", "yaml")}
COMMANDS = [line for block in BLOCKS["bash"] for line in block.splitlines() if line.strip()]


def smoked(command):
    """The short form of a README command: the same command line on the smoke version of the sweep."""
    command = command.replace("results/quickstart", "results/quickstart-smoke")
    if command.startswith(("seedbed launch", "seedbed plan")):
        command += " --smoke"
    if command.startswith("seedbed replay"):
        command = command.replace("--from 900 --to 1300 --every 5", "--from 25 --to 100 --every 25")
    return command


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which the README's commands find the sweeps."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "sweeps").symlink_to(ROOT / "sweeps")
    return folder


@pytest.mark.ray
@pytest.mark.native
def test_every_command_of_the_readme_works_in_order(place, monkeypatch, capsys):
    bin_folder = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}"}
    monkeypatch.chdir(place)
    for command in COMMANDS:
        if command.startswith("make"):
            # The recipes of make are the commands below; that the targets exist is what is left to see.
            done = subprocess.run([*command.split(), "-n"], cwd=ROOT, capture_output=True, text=True)
            code, output = done.returncode, done.stdout + done.stderr
        elif IS_FULL or not command.startswith("seedbed") or command.startswith("seedbed launch"):
            line = command if IS_FULL else smoked(command)
            done = subprocess.run(line, shell=True, cwd=place, env=environment, capture_output=True, text=True)
            code, output = done.returncode, done.stdout + done.stderr
        else:
            # In this process, which has imported torch before. The launch is not, since it starts Ray.
            code, output = run(monkeypatch, capsys, *shlex.split(smoked(command))[1:])
        assert code == 0, f"{command}\n{output}"


@pytest.mark.ray
@pytest.mark.native
def test_python_reads_what_the_commands_left(place, monkeypatch):
    code = EXTENDING.rpartition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(place)
    found: dict[str, object] = {}
    exec(code if IS_FULL else code.replace("results/quickstart", "results/quickstart-smoke"), found)
    import torch

    tokens = torch.zeros(3, 17, dtype=torch.int64)
    assert found["module"](tokens).shape == (3, 8)
    assert found["history"].values["label_loss"].shape[0] == len(found["history"].runs)


def test_the_sweep_of_the_readme_has_three_learning_rates_and_64_seeds_of_each(tmp_path):
    (text,) = BLOCKS["yaml"]
    (tmp_path / "my_sweep.yaml").write_text(text)
    runs = load_spec(tmp_path / "my_sweep.yaml").runs()
    assert len(runs) == 3 * 64
    assert sorted({run.optimiser.lr for run in runs}) == pytest.approx([1e-3, 10**-2.5, 1e-2])


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 120


def test_every_sweep_is_listed_with_its_number_of_runs():
    pages = README + PAPERS_PAGES + DATA_PAGE + LANDSCAPE_PAGE + BENCHMARK_PAGE
    rows = re.findall(r"^\| `(sweeps/\S+\.yaml)` \|.*?\| (\d+) \|", pages, re.M)
    listed = {name: int(count) for name, count in rows}
    assert len(listed) == len(rows)
    assert listed.keys() == {str(path.relative_to(ROOT)) for path in shipped_sweeps()}
    specs = {name: load_spec(ROOT / name) for name in listed}
    forks = {name: spec.fork for name, spec in specs.items() if spec.fork is not None}
    assert {name: len(list(expand(specs[name]))) for name in listed.keys() - forks.keys()} == {
        name: count for name, count in listed.items() if name not in forks
    }
    by_name = {spec.name: name for name, spec in specs.items()}
    for name, fork in forks.items():
        parents = listed[by_name[Path(fork.sweep).name]]
        assert listed[name] == parents * len(fork.steps) * len(fork.data_seed.values())


def test_the_pictures_of_the_readme_exist():
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert pictures
    for picture in pictures:
        assert (ROOT / picture).read_bytes().startswith(b"\x89PNG")


def test_nothing_names_a_package_index():
    names = ("index" + "-url", "find" + "-links", "pypi" + ".org", "download." + "pytorch")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in tracked:
        path = ROOT / name
        if path.suffix not in (".png", ".parquet"):
            text = path.read_text(encoding="utf-8")
            assert not [word for word in names if word in text], name


SWEEP_FILES = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "sweep_files.md").read_text(encoding="utf-8"), re.S)


def test_the_sweep_files_of_the_reference_are_valid(tmp_path):
    whole, budgets, fork, search, unlike = SWEEP_FILES
    (tmp_path / "whole.yaml").write_text(whole)
    spec = load_spec(tmp_path / "whole.yaml")
    assert len(spec.runs()) == 2 * 3 * 2 * 8
    factors = json.dumps(yaml.safe_load(budgets)["vary"])
    assert load_spec(tmp_path / "whole.yaml", [f"vary={factors}"]).budgets == (1200, 2400)
    level = yaml.safe_load(unlike)["resources"]["instruction_set"]
    chosen = [f"resources.instruction_set={level}", "resources.slots=null"]
    assert load_spec(tmp_path / "whole.yaml", chosen).resources.instruction_set == level
    (tmp_path / "search.yaml").write_text(search)
    assert load_search(tmp_path / "search.yaml")[0].race.first == 3
    (tmp_path / "fork.yaml").write_text(fork)
    assert load_spec(tmp_path / "fork.yaml").fork.steps == (350, 700)
