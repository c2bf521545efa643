"""Commands that only read load nothing that trains, and `status` loads next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support import tiny, trained

# Runs the command in a fresh process; the last line says what it loaded and used.
PROGRAM = """
import json, resource, sys
from sweeps.cli import __main__ as cli
try:
    cli.main()
except SystemExit as end:
    code = end.code or 0
used = resource.getrusage(resource.RUSAGE_SELF)
# Not ru_maxrss, which begins at what the process had that started this one.
peak_kib = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))
loaded = sorted({name.partition(".")[0] for name in sys.modules})
print()
print(json.dumps([code, loaded, used.ru_utime + used.ru_stime, peak_kib / 1024]))
"""
TRAINING = {"torch", "lightning", "ray", "wandb"}
ANALYSING = {"sklearn", "scipy", "altair", "yaml", "jinja2"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return trained(tiny(), tmp_path_factory.mktemp("light") / "r").folder


def measured(*arguments):
    """(exit code, top-level modules loaded, CPU seconds, peak MiB) of `seedbed ARGUMENTS`."""
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    code, loaded, cpu_s, peak_mib = json.loads(done.stdout.splitlines()[-1])
    return code, set(loaded), cpu_s, peak_mib


@pytest.mark.parametrize("command", ["status", "analyse", "report", "forecast"])
def test_reading_results_loads_nothing_that_trains(command, folder):
    code, loaded, *_ = measured(command, folder)
    assert code == 0
    assert not loaded & TRAINING


@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["--version"], ["launch", "-h"]], ids=" ".join)
def test_what_tells_of_seedbed_itself_loads_nothing_that_trains(arguments):
    code, loaded, *_ = measured(*arguments)
    assert code == 0
    assert not loaded & TRAINING


@pytest.mark.parametrize("options", [[], ["--runs"], ["--json"]], ids=" ".join)
def test_status_is_light(options, folder):
    """Half a CPU second and 150 MiB on a machine of 2026; what else runs on it may double that."""
    code, loaded, cpu_s, peak_mib = measured("status", folder, *options)
    assert code == 0
    assert not loaded & (TRAINING | ANALYSING)
    assert cpu_s < 1.5
    assert peak_mib < (200 if "--runs" in options else 150)
