"""What all tests share: one thread for torch, a clean environment, and markers that state what a test starts."""

from __future__ import annotations

import os
import sys
import warnings
from itertools import pairwise
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

# Before torch or Ray are imported anywhere.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.pop("RAY_ADDRESS", None)
os.environ["WANDB_MODE"] = "offline"

# Files of which every test carries a marker; single tests carry theirs where they are defined.
_MARKERS = {
    "tests/contracts/test_drop_in.py": "native",
    "tests/contracts/test_optimisers.py": "native",
    "tests/contracts/test_runs.py": "native",
    "tests/contracts/test_schedules.py": "native",
    "tests/engine/test_native.py": "native",
    "tests/engine/test_stored_bits.py": "native",
    "tests/tracking/test_forks.py": "wandb",
    "tests/tracking/test_pictures.py": "wandb",
    "tests/tracking/test_tracking.py": "wandb",
    "tests/tracking/test_tracking_folder.py": "wandb",
    "tests/tracking/test_tracking_online.py": "wandb",
    "tests/tracking/test_tracking_process.py": "wandb",
}
_RAY_PROCESSES = ("raylet", "gcs_server", "ray")
_COMMANDS_THAT_LAUNCH = ("launch", "resume", "reproduce")
# One worker runs these files, one after another: they start Ray, whose processes fill both cores, or measure time.
_ALONE = (
    "tests/test_readme.py",
    "tests/cluster/test_cluster.py",
    "tests/launch/test_failing_launches.py",
    "tests/launch/test_launch.py",
    "tests/launch/test_shadowed_names.py",
    "tests/benchmarks/test_measure.py",
    "tests/store/test_sweep_folder.py",
    "tests/sweeps/test_light_commands.py",
)

# Tests of which others of their file show the same in one form or in a shorter one: `make longer-test` runs them.
_LONGER = frozenset((Path(__file__).parent / "longer.txt").read_text(encoding="utf-8").splitlines())

_started: set[str] = set()


def markers_of(command: list[str]) -> set[str]:
    """The markers that a test which starts this process must carry."""
    words = [word for argument in command for word in str(argument).split()]
    names = {Path(word).name for word in words[:2]}
    found = set()
    if names & set(_RAY_PROCESSES):
        found.add("ray")
    is_ours = ("-m", "sweeps.cli") in pairwise(words) or "seedbed" in names
    if is_ours and set(words) & set(_COMMANDS_THAT_LAUNCH) and not {"--inline", "--help"} & set(words):
        found.add("ray")
    if is_ours and set(words) & {"mirror", "dashboard"} and "--help" not in words:
        found.add("wandb")
    # Not anywhere in the words: code that is passed with -c may name it as absent.
    if "pipeline.tracking.mirror" in words or "wandb" in words[:3]:
        found.add("wandb")
    return found


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "subprocess.Popen":
        executable, command, *_ = arguments
        parts = command if isinstance(command, (list, tuple)) else [command or executable]
        _started.update(markers_of([part.decode() if isinstance(part, bytes) else str(part) for part in parts]))
    elif event == "ctypes.dlopen" and Path(str(arguments[0])).name.startswith("program-"):
        _started.add("native")


sys.addaudithook(_watch)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Forget what earlier tests started, before the fixtures of this one."""
    _started.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    """Fail a test that starts Ray, the tracking process or a compiled program without the marker that says so."""
    result = yield
    missing = {name for name in _started if item.get_closest_marker(name) is None}
    assert not missing, f"starts what only tests with these markers may: {sorted(missing)}"
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark whole files and longer tests; what must run alone comes first, so that it does not start last."""
    for item in items:
        file = item.nodeid.partition("::")[0]
        if file in _MARKERS:
            item.add_marker(_MARKERS[file])
        if item.nodeid in _LONGER:
            item.add_marker("longer")
    items.sort(key=lambda item: item.nodeid.partition("::")[0] not in _ALONE)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    """Under pytest-xdist, one worker runs a whole file, and one worker all that must not run at the same time."""
    return _ByFile(config, log)


class _ByFile(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "alone" if file in _ALONE else file


@pytest.fixture(autouse=True)
def _one_thread():
    import torch

    torch.set_num_threads(1)
    with warnings.catch_warnings():
        # Lightning's own: it goes when Lightning stops using torch's LeafSpec.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        yield


@pytest.fixture(autouse=True, scope="module")
def _own_code_is_forgotten():
    """What the tests of a file imported is registered no longer behind it, nor is the process still a worker of Ray."""
    from pipeline.own_code import copies, imported

    before, path, loaded = set(imported.entries()), list(sys.path), set(sys.modules)
    yield
    for entry in set(imported.entries()) - before:
        imported.forget(entry)
    for name in set(sys.modules) - loaded:
        if name.partition(".")[0].startswith(("seedbed_imported_", "my_")):
            del sys.modules[name]
    sys.path[:] = path
    copies._in_worker.clear()
