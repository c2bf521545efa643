"""Code of one's own: named in a sweep file or on the command line, registered, hashed, and run with consent."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from analysis.tables.sweep import Sweep
from pipeline.own_code import imported
from pipeline.own_code.closure import own_files
from pipeline.own_code.functions import function_named
from pipeline.own_code.imported import OwnCodeError, load, resolved
from pipeline.planning.packs import expand, stored_spec
from pipeline.spec.errors import SpecError
from pipeline.spec.sweep import load_spec
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from pipeline.tasks.base import TASKS
from pipeline.training.sources import source_hashes
from sweeps.cli.__main__ import app, imports_first
from sweeps.command.own.consent import import_named
from tests.support import SOURCES, trained

ROOT = Path(__file__).resolve().parents[2]
MAJORITY = SOURCES["pipeline/tasks/majority.py"]
SWEEP = """
name: own
imports: [{entry}]
task: {{name: majority, num_tokens: 5}}
model: {{name: transformer, width: 8, num_heads: 2, num_layers: 1}}
optimiser: {{name: adamw, lr: 3e-3}}
batch_size: 8
budget: 20
grid: {{chunk: 10, eval_items: 16, probe_items: 8}}
seeds: {{together: [0, 1]}}
resources: {{engine: torch, slots: 2}}
tracking: {{mode: disabled}}
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder with a task as a file and in a package, and a sweep file of each; the working directory is another."""
    home = tmp_path / "repo"
    (home / "my_pkg").mkdir(parents=True)
    (home / "my_task.py").write_text(MAJORITY)
    (home / "my_pkg" / "__init__.py").write_text("")
    (home / "my_pkg" / "helpers.py").write_text("NUM_TOKENS = 9\n")
    (home / "my_pkg" / "tasks.py").write_text(
        "from my_pkg.helpers import NUM_TOKENS\n" + MAJORITY.replace("static(9", "static(NUM_TOKENS")
    )
    (home / "file.yaml").write_text(SWEEP.format(entry="./my_task.py"))
    (home / "package.yaml").write_text(SWEEP.format(entry="my_pkg.tasks"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return home


@pytest.mark.parametrize("name", ["file", "package"])
def test_a_sweep_file_names_code_beside_it_and_trains_it(repository, tmp_path, name):
    spec = load_spec(repository / f"{name}.yaml")
    assert spec.task.name == "majority"
    store = trained(spec, tmp_path / "r")
    assert {end.step for end in store.history().ends} == {20}
    assert stored_spec(store) == spec


def test_a_task_that_takes_no_split_is_refused_with_its_file_its_line_and_the_change_to_make(repository):
    old = MAJORITY.replace(', split: "Split"', "")
    (repository / "my_task.py").write_text(old)
    line = next(number for number, text in enumerate(old.splitlines(), 1) if "def sample(" in text)
    told = rf"my_task\.py:\d+: .*line {line}: Majority\.sample takes no split; make it `def sample\(self, streams, "
    with pytest.raises(SpecError, match=told):
        load_spec(repository / "file.yaml")


def test_another_process_imports_it_from_the_results_alone(repository, tmp_path):
    store = trained(load_spec(repository / "package.yaml"), tmp_path / "r")
    text = (
        "from pathlib import Path; from pipeline.own_code.imported import allow; from pipeline.planning.packs import "
        f"stored_spec; from pipeline.store.sweep_store import SweepStore; allow({sorted(imported.allowed())!r}); "
        f"print(stored_spec(SweepStore(Path({str(store.folder)!r}))).task.num_tokens)"
    )
    done = subprocess.run([sys.executable, "-c", text], cwd="/", capture_output=True, text=True)
    assert done.stdout.strip() == "5", done.stderr


def test_a_results_folder_alone_runs_no_code(repository, tmp_path):
    store = trained(load_spec(repository / "file.yaml"), tmp_path / "r")
    (entry,) = stored_spec(store).imports
    imported.forget(entry)
    imported._allowed.clear()
    (repository / "my_task.py").write_text(MAJORITY + f"\nopen({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(StoreError, match=r"repeat the command with --import .*my_task\.py"):
        stored_spec(store)
    assert not (tmp_path / "ran").exists()
    (repository / "my_task.py").unlink()
    with pytest.raises(StoreError, match="code that is not here: there is no file"):
        stored_spec(store)


def test_what_was_named_once_is_trusted_until_it_changes(repository, tmp_path, monkeypatch):
    store = trained(load_spec(repository / "file.yaml"), tmp_path / "r")
    (entry,) = stored_spec(store).imports

    def as_another_process():
        imported.forget(entry)
        imported._allowed.clear()
        imported._is_kept.clear()

    as_another_process()
    assert stored_spec(store).task.name == "majority"
    as_another_process()
    (repository / "my_task.py").write_text(MAJORITY + "\n# Changed.\n")
    with pytest.raises(StoreError, match="or that has changed since") as refused:
        Sweep(store.folder)
    import_named([entry])
    as_another_process()
    assert stored_spec(store).task.name == "majority"
    as_another_process()
    (repository / "my_task.py").write_text(MAJORITY + "\n# Changed again.\n")
    call = str(refused.value).partition("in Python first call ")[2]
    module, _, name = call.partition("(")[0].rpartition(".")
    getattr(importlib.import_module(module), name)(ast.literal_eval(call.partition("(")[2].removesuffix(")")))
    assert Sweep(store.folder).runs().num_rows == 2


def test_changed_code_has_another_hash_and_a_folder_that_moved_has_the_same(repository, tmp_path):
    spec = load_spec(repository / "package.yaml")
    before = source_hashes(spec, expand(spec))
    assert {"my_pkg/tasks.py", "my_pkg/helpers.py", "my_pkg/__init__.py"} <= before.keys()
    assert not any(str(repository) in name for name in before)
    (repository / "my_pkg" / "helpers.py").write_text("NUM_TOKENS = 11\n")
    changed = source_hashes(spec, expand(spec))
    assert {name for name in before if before[name] != changed[name]} == {"my_pkg/helpers.py"}


def test_a_file_counts_with_what_it_imports_beside_it(tmp_path):
    (tmp_path / "one.py").write_text("import two\nfrom os import path\nimport numpy\n")
    (tmp_path / "two.py").write_text("def late():\n    from three import x\n    return x\n")
    (tmp_path / "three.py").write_text("import one\nx = 1\n")
    (tmp_path / "four.py").write_text("")
    assert sorted(own_files(tmp_path / "one.py", "seedbed_imported_one")) == ["one.py", "three.py", "two.py"]


def test_relative_imports_are_found_and_other_packages_are_not(tmp_path):
    package = tmp_path / "pkg" / "sub"
    package.mkdir(parents=True)
    for path in (tmp_path / "pkg" / "__init__.py", package / "__init__.py", package / "b.py"):
        path.write_text("")
    (tmp_path / "other.py").write_text("")
    (tmp_path / "pkg" / "c.py").write_text("")
    (package / "a.py").write_text("from . import b\nfrom ..c import x\nimport other\n")
    found = own_files(package / "a.py", "pkg.sub.a")
    assert sorted(found) == ["pkg/__init__.py", "pkg/c.py", "pkg/sub/__init__.py", "pkg/sub/a.py", "pkg/sub/b.py"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1\ny = x +\n", r"my_task\.py:2: invalid syntax"),
        ("x = 1\n1 / 0\n", r"my_task\.py:2: ZeroDivisionError: division by zero"),
        ("import no_such_module\n", r"my_task\.py:1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(3)\n", r"my_task\.py:1: SystemExit: 3"),
        ("x = 1\n", r"my_task\.py: defines no class with a `name` and no function"),
        (
            MAJORITY.replace('    name = "majority"\n', "") + "\n\ndef f(): ...\n",
            "class Majority has no `name`, by which",
        ),
    ],
)
def test_what_cannot_be_imported_is_named_with_file_and_line(repository, text, told):
    (repository / "my_task.py").write_text(text)
    with pytest.raises(SpecError, match=r"file\.yaml:3: imports\[0\]: .*" + told):
        load_spec(repository / "file.yaml")


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("./none.py", "there is no file .*repo/none.py"),
        ("~no-such-user/my_task.py", "~no-such-user/my_task.py: Could not determine home directory"),
        ("my_none.tasks", "there is no module 'my_none', in .*repo, in .*elsewhere, or installed"),
        ("'a b'", "neither a path, as ./my_task.py, nor a module"),
        ("3", "should be text|string"),
    ],
)
def test_what_is_not_there_is_named(repository, entry, told):
    (repository / "file.yaml").write_text(SWEEP.format(entry=entry))
    with pytest.raises(SpecError, match=told):
        load_spec(repository / "file.yaml")


def test_a_name_that_is_taken_is_refused(repository):
    (repository / "my_task.py").write_text(MAJORITY.replace('"majority"', '"dictionary_lookup"'))
    load(resolved("./my_task.py", repository))
    with pytest.raises(ValueError, match=r"two classes are called 'dictionary_lookup'.*my_task\.py; rename"):
        TASKS["dictionary_lookup"]


def test_code_is_imported_once_and_forgotten_when_asked(repository):
    entry = resolved("./my_task.py", repository)
    assert load(entry) is load(entry)
    assert "majority" in TASKS
    imported.forget(entry)
    assert "majority" not in TASKS


def test_two_files_of_one_name_are_refused(repository):
    (repository / "other").mkdir()
    (repository / "other" / "my_task.py").write_text(MAJORITY)
    load(resolved("./my_task.py", repository))
    with pytest.raises(OwnCodeError, match=r"another imported file is called my_task\.py, too"):
        load(resolved("./other/my_task.py", repository))


@pytest.mark.parametrize(
    "imports", ["import my_helper", "def late():\n    from my_helper import NUMBER", "import my_lib.my_sub"]
)
def test_code_whose_own_imports_would_give_files_of_another_folder_is_refused_naming_both(repository, imports):
    for folder, number in (("a", 1), ("b", 2), ("c", 1)):
        (repository / folder / "my_lib").mkdir(parents=True)
        (repository / folder / "my_lib" / "__init__.py").write_text(f"NUMBER = {number}\n")
        (repository / folder / "my_lib" / "my_sub.py").write_text("")
        (repository / folder / "my_helper.py").write_text(f"NUMBER = {number}\n")
        (repository / folder / f"my_{folder}.py").write_text(f"{imports}\n{MAJORITY}")
    load(resolved("./a/my_a.py", repository))
    with pytest.raises(OwnCodeError, match=r"/b/(\S+): another module of this name, \S+/a/\1, comes before it"):
        load(resolved("./b/my_b.py", repository))
    with pytest.raises(OwnCodeError, match=r"/b/\S+: another module of this name, "):
        load(resolved("my_b", repository / "b"))
    assert load(resolved("./c/my_c.py", repository)).__name__ == "seedbed_imported_my_c"


def test_a_function_beside_a_class_that_nothing_registers_can_be_named(tmp_path):
    (tmp_path / "my_data.py").write_text("class Reader:\n    pass\n\n\ndef arrays():\n    return Reader\n")
    load(resolved("./my_data.py", tmp_path))
    assert function_named("my_data:arrays")().__name__ == "Reader"


def test_a_function_of_a_module_whose_name_two_files_have_is_refused_naming_both(repository):
    (repository / "other").mkdir()
    for folder, number in ((repository, 1), (repository / "other", 2)):
        (folder / "my_data.py").write_text(f"def number():\n    return {number}\n")
    load(resolved("my_data", repository / "other"))
    assert function_named("my_data:number")() == 2
    load(resolved("./my_data.py", repository))
    with pytest.raises(OwnCodeError, match=r"other/my_data\.py and \S+/repo/my_data\.py are both called 'my_data'"):
        function_named("my_data:number")


def test_code_beside_a_file_that_is_called_as_a_module_of_python_is_refused(repository):
    (repository / "time.py").write_text("")
    (repository / "my_task.py").write_text(f"import time\n{MAJORITY}")
    with pytest.raises(OwnCodeError, match=r"time\.py: another module of this name, built-in, comes before it"):
        load(resolved("./my_task.py", repository))


def test_where_code_lies_is_no_part_of_a_sweep(repository, tmp_path):
    first = load_spec(repository / "file.yaml")
    moved = first.model_copy(update={"imports": ("/somewhere/my_task.py",)})
    assert first.sweep_id == moved.sweep_id


def test_any_command_takes_import_anywhere(repository, tmp_path, capsys):
    assert imports_first(["plan", "a.yaml", "--import", "x.py", "--import=y", "--", "--import"]) == [
        "--import", "x.py", "--import=y", "plan", "a.yaml", "--", "--import",
    ]  # fmt: skip
    text = SWEEP.format(entry="x").replace("imports: [x]\n", "")
    (repository / "without.yaml").write_text(text)
    arguments = ["plan", str(repository / "without.yaml"), "--inline", "--import", str(repository / "my_task.py")]
    found = CliRunner().invoke(app, imports_first(arguments))
    assert found.exit_code == 0, found.output
    assert str(repository / "my_task.py") in load_spec(repository / "without.yaml", (), imported.entries()).imports
    assert (tmp_path / "cache" / "seedbed" / "allowed-imports").is_dir()
    missing = CliRunner().invoke(app, ["--import", "./nothing.py", "list"])
    assert isinstance(missing.exception, StoreError)
    assert "--import: there is no file" in str(missing.exception)


def test_a_plug_in_that_fails_is_left_out_with_a_line(monkeypatch, capsys):
    class Point:
        module, value = "no_such_plugin", "no_such_plugin:tasks"

    monkeypatch.setattr(imported, "entry_points", lambda group: [Point()] if group == "seedbed.tasks" else [])
    imported.plugins.cache_clear()
    assert "dictionary_lookup" in TASKS
    assert "no_such_plugin:tasks of seedbed.tasks is left out: No module named" in capsys.readouterr().err
    imported.plugins.cache_clear()


def test_classes_of_a_plug_in_are_registered(repository, monkeypatch):
    class Point:
        module, value = "my_pkg.tasks", "my_pkg.tasks"

    monkeypatch.syspath_prepend(str(repository))
    monkeypatch.setattr(imported, "entry_points", lambda group: [Point()] if group == "seedbed.tasks" else [])
    imported.plugins.cache_clear()
    assert TASKS["majority"].__module__ == "my_pkg.tasks"
    imported.plugins.cache_clear()


@pytest.mark.slow
@pytest.mark.ray
def test_workers_of_ray_import_it(repository):
    command = [sys.executable, "-m", "sweeps.cli", "launch", str(repository / "package.yaml"), "--results", "r"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert {end.step for end in SweepStore(Path("r")).history().ends} == {20}
