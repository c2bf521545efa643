"""Code and data of one's own under Ray, trained on a computer that has no such folder: from copies, to the same bits.

The second computer is a node on this one, from whose view of the file system the folder is taken away.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from pipeline.spec.sweep import load_spec
from pipeline.store.sweep_store import SweepStore
from tests.cluster.nodes import Cluster
from tests.cluster.processes import Started, seedbed
from tests.own_code.test_imports import MAJORITY, SWEEP
from tests.support import rows, trained, weights

LIT = Path(__file__).resolve().parents[1] / "models" / "lit.py"
DATA = """
import numpy as np

def arrays():
    inputs = np.random.default_rng(0).standard_normal((200, 9))
    return inputs, (inputs.sum(1) > 0).astype(int)
"""
TASK, _, _, *COMMON = SWEEP.format(entry="").partition("task: ")[2].splitlines()
COMMON = "\n".join(COMMON)
# A task of one's own with a LightningModule in a pack; arrays of a function with a LightningModule under a Trainer.
SWEEPS = {
    "pack": f"""
name: own
imports: [./my_task.py]
task: {TASK}
model: {{name: lightning, module: "./lit.py:Lit", length: 5}}
{COMMON}""",
    "trainer": f"""
name: own
imports: [./my_data.py]
task: {{name: dataset, load: "my_data:arrays", order: epochs}}
model: {{name: lightning, module: "./lit.py:Gan", trainer: true, input_shape: [9]}}
{COMMON}""",
}
# Runs a command from whose view of the file system a folder is taken: what is there is an empty one.
WITHOUT = ("unshare", "--mount", "--propagation", "private", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"')


@pytest.fixture
def place():
    """A folder with a short name, since Ray's sockets lie below it: the user's code in `own`."""
    found = Path(tempfile.mkdtemp(prefix="sbo", dir="/tmp"))
    own = found / "own"
    own.mkdir()
    (found / "t").mkdir()
    (own / "my_task.py").write_text(MAJORITY)
    (own / "my_data.py").write_text(DATA)
    shutil.copy(LIT, own)
    for name, text in SWEEPS.items():
        (own / f"{name}.yaml").write_text(text)
    yield found
    shutil.rmtree(found, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(3600)
@pytest.mark.skipif(os.geteuid() != 0, reason="taking a folder out of a process's view is root's")
def test_a_computer_that_lacks_the_folder_trains_from_the_copies(place, tmp_path):
    without = [*WITHOUT, str(place / "own")]
    assert subprocess.run([*without, "ls", place / "own"], capture_output=True, check=True).stdout == b""
    with Cluster(place, head_cpus=0) as cluster:
        cluster.start({"XDG_CACHE_HOME": str(place / "n" / "cache")}, without)
        for name in SWEEPS:
            words = seedbed("launch", f"own/{name}.yaml", "--results", name, "--address", cluster.address)
            environment = cluster.environment | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
            driver = Started(words, place, environment, f"driver-{name}")
            code = driver.wait(1200)
            driver.kill_all()
            assert code == 0, f"{name}: {driver.output}"
    for name in SWEEPS:
        spec = load_spec(place / "own" / f"{name}.yaml")
        found, alone = SweepStore(place / name), trained(spec, tmp_path / name)
        assert rows(found) == rows(alone), name
        assert weights(found) == weights(alone), name
