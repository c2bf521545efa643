"""Commands that only read load nothing that trains, and `status` loads next to nothing."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import weakref
from types import SimpleNamespace

import pytest

from pipeline.imports import quick_imports, without_dynamo, without_old_garbage, without_scipy_signal
from tests.support import opened, tiny, trained

# Runs commands, one after another, in a fresh process; the last line but one says what they loaded after each, and
# used, the last how many objects the interpreter leaves alone when it ends.
PROGRAM = """
import atexit, gc, json, resource, sys
atexit.register(lambda: print(gc.get_freeze_count()))
from sweeps.cli import __main__ as cli
found = []
for words in json.loads(sys.argv[1]):
    sys.argv = ["seedbed", *words]
    try:
        cli.main()
    except SystemExit as end:
        found.append([end.code or 0, sorted({name.partition(".")[0] for name in sys.modules})])
used = resource.getrusage(resource.RUSAGE_SELF)
# Not ru_maxrss, which begins at what the process had that started this one.
peak_kib = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print()
print(json.dumps([found, used.ru_utime + used.ru_stime, peak_kib / 1024]))
"""
# Runs the command in a fresh process up to its first commit; says what it had loaded then, and whether the part of
# scipy that Lightning was kept from is whole for whoever asks for it later.
UNTIL_COMMIT = """
import gc, os, sys
from pipeline.store.pack_store import PackStore
from sweeps.cli import __main__ as cli

def commit(self, record):
    print(*sorted(sys.modules), flush=True)
    print(gc.get_freeze_count(), flush=True)
    import scipy.signal
    print(len(scipy.signal.firwin(3, 0.5)), hasattr(scipy.signal, "hamming"), flush=True)
    os._exit(0)

PackStore.commit = commit
cli.main()
"""
TRAINING = {"torch", "lightning", "ray", "wandb"}
ANALYSING = {"sklearn", "scipy", "altair", "yaml", "jinja2"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return trained(tiny(), tmp_path_factory.mktemp("light") / "r").folder


class Owner:
    """Holds itself."""

    def __init__(self):
        self.own = self


def measured(*commands):
    """([(exit code, top-level modules loaded so far) of each command], CPU seconds, peak MiB) of `seedbed WORDS`."""
    words = json.dumps([list(map(str, command)) for command in commands])
    done = subprocess.run([sys.executable, "-c", PROGRAM, words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *_, told, num_frozen = done.stdout.splitlines()
    found, cpu_s, peak_mib = json.loads(told)
    assert len(found) == len(commands)
    assert int(num_frozen) > 10_000, "or the end of a command takes a second longer"
    return [(code, set(loaded)) for code, loaded in found], cpu_s, peak_mib


def test_reading_results_loads_nothing_that_trains(folder):
    commands = [["analyse", folder], ["report", folder], ["forecast", folder]]
    for command, (code, loaded) in zip(commands, measured(*commands)[0], strict=True):
        assert code == 0, command
        assert not loaded & TRAINING, command


def test_what_tells_of_seedbed_itself_loads_nothing_that_trains():
    commands = [["--help"], ["--version"], ["launch", "-h"], ["list"]]
    for command, (code, loaded) in zip(commands, measured(*commands)[0], strict=True):
        assert code == 0, command
        assert not loaded & TRAINING, command


@pytest.mark.parametrize("options", [[], ["--runs"], ["--json"]], ids=" ".join)
def test_status_is_light(options, folder):
    """Half a CPU second and 150 MiB on a machine of 2026; what else runs on it may double that."""
    [(code, loaded)], cpu_s, peak_mib = measured(["status", folder, *options])
    assert code == 0
    assert not loaded & (TRAINING | ANALYSING)
    assert cpu_s < 1.5
    assert peak_mib < (200 if "--runs" in options else 150)


def test_training_goes_on_without_waiting_for_what_it_does_not_use(tmp_path):
    """Importing is nearly all that `resume` costs before its first step, and these would be nearly half of it."""
    store = opened(tiny(), tmp_path / "r")
    command = [sys.executable, "-c", UNTIL_COMMIT, "resume", str(store.folder), "--inline"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "SEEDBED_COMMIT_S": "0"})
    assert done.returncode == 0, done.stderr
    listed, num_frozen, whole = done.stdout.splitlines()[-3:]
    loaded = set(listed.split())
    assert {"torch", "lightning", "pipeline.training.pack_loop"} <= loaded
    unused = {"ray", "wandb", "sklearn", "pandas", "altair", "jinja2", "analysis.outcomes.incidence"}
    assert not loaded & unused
    assert not [name for name in loaded if name.startswith(("scipy.signal", "scipy.stats", "scipy.sparse"))]
    assert not [name for name in loaded if name.startswith(("torch._dynamo", "torch._inductor", "sympy"))]
    assert int(num_frozen) > 10_000, "or garbage is looked for among the objects of libraries"
    assert whole == "3 False"


def test_where_a_package_needs_it_lightning_gets_scipy_signal_as_ever(monkeypatch):
    for name in ("scipy.signal", "torchmetrics"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with without_scipy_signal():
        assert sys.modules["scipy.signal"].hamming is None
    assert "scipy.signal" not in sys.modules
    monkeypatch.setattr("pipeline.imports.find_spec", lambda name: name == "srmrpy" or None)
    with without_scipy_signal():
        assert "scipy.signal" not in sys.modules


def test_lightning_knows_compiled_modules_once_there_are_any(monkeypatch):
    for name in ("torch._dynamo", "lightning"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with without_dynamo():
        from torch._dynamo import OptimizedModule, disable
    assert "torch._dynamo" not in sys.modules
    negative = disable(lambda number: -number)
    assert negative(2) == -2
    assert not isinstance(2, OptimizedModule)
    real = SimpleNamespace(OptimizedModule=int, disable=lambda function, recursive: lambda given: (given, recursive))
    monkeypatch.setitem(sys.modules, "torch._dynamo", real)
    assert negative(2) == (2, True)
    assert isinstance(2, OptimizedModule)


def test_what_else_lightning_asks_for_is_taken_from_the_module_itself(monkeypatch):
    for name in ("torch._dynamo", "lightning"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    real = SimpleNamespace(other=3)
    monkeypatch.setattr("pipeline.imports.import_module", lambda name: sys.modules.setdefault(name, real))
    with without_dynamo():
        from torch._dynamo import other
    assert other == 3
    assert sys.modules["torch._dynamo"] is real


def test_old_objects_are_left_alone_while_garbage_is_collected():
    gc.unfreeze()
    with without_old_garbage():
        assert gc.get_freeze_count() > 10_000
        with without_old_garbage():
            pass
        assert gc.get_freeze_count() > 10_000
        place = weakref.finalize(Owner(), int)
        gc.collect()
        assert not place.alive
    assert gc.get_freeze_count() == 0


def test_garbage_is_collected_again_after_imports_unless_it_was_not_before():
    with quick_imports():
        assert not gc.isenabled()
        with quick_imports():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
