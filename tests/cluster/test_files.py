"""The files of sweeps/cluster: their commands are seedbed's, their shell is sound, and they are no sweeps."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from pipeline.workers.draining import LONGEST_DRAIN_S
from sweeps.cli.__main__ import app
from sweeps.command.shipped import shipped_sweeps

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "sweeps" / "cluster"
# A call of seedbed at the beginning of a line, after a word, or quoted.
CALL = re.compile(r"(?:^|[ `])(seedbed (?:launch|work|status|report|mirror) [^`#&;]*)")
DOCUMENTS = {path.name: yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yaml")}


def pods(value):
    """The pod specs inside a document."""
    if isinstance(value, dict):
        if "containers" in value:
            yield value
        for inner in value.values():
            yield from pods(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from pods(inner)


def commands():
    """Every call of seedbed in the files and in the page about them, as words."""
    for path in (*FOLDER.iterdir(), ROOT / "docs" / "clusters.md"):
        for line in path.read_text().splitlines():
            for found in CALL.findall(line):
                yield path.name, shlex.split(found)[1:]
    yield "kubernetes-job.yaml", next(pods(DOCUMENTS["kubernetes-job.yaml"]))["containers"][0]["command"][1:]


def test_every_command_and_option_that_they_name_exists():
    known, seen = typer.main.get_command(app).commands, set()
    for file, (name, *words) in commands():
        options = {text for parameter in known[name].params for text in parameter.opts}
        given = {word for word in words if word.startswith("--")}
        assert given <= options, (file, name, given - options)
        seen |= {(file, name)}
    assert {
        ("slurm.sh", "launch"),
        ("slurm_workers.sh", "work"),
        ("ray-job.yaml", "launch"),
        ("sky.yaml", "work"),
    } <= seen


@pytest.mark.parametrize("script", sorted(FOLDER.glob("*.sh")), ids=lambda path: path.name)
def test_the_scripts_parse_and_say_how_they_are_used(script):
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    done = subprocess.run(["bash", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr[:6]) == (2, "usage:")


def test_a_pod_is_given_the_time_that_a_worker_takes_to_leave():
    (pod,) = pods(DOCUMENTS["kubernetes-job.yaml"])
    assert pod["terminationGracePeriodSeconds"] > LONGEST_DRAIN_S
    assert LONGEST_DRAIN_S < 30


def test_a_ray_cluster_asks_for_its_token_and_has_the_version_of_the_constraints():
    cluster = DOCUMENTS["ray-job.yaml"]["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert f"ray=={cluster['rayVersion']}" in (ROOT / "constraints.txt").read_text()


def test_they_are_no_sweeps():
    assert not [path for path in shipped_sweeps() if path.parent == FOLDER]
