"""`make mutants`: each sync, rename, checksum, fence and guard of object stores is taken out, and some test must fail.

A mutant is a copy of the source tree with one piece of text replaced. The tests are those of the store, of the states
that a loss of power may leave, of the cache of programs, of object stores (which need obstore) and of repairs; the file
that should notice a mutant comes first, and the others where it does not. Prints a table, and writes it into
docs/reliability.md with `--write`; exit code 1 if a mutant survives, or if the original does not pass.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import between
from tests.faults.table import PAGE

ROOT = Path(__file__).resolve().parents[2]
MARKERS = ("<!-- mutants: begin -->", "<!-- mutants: end -->")
_COPIED = ("pipeline", "analysis", "sweeps", "benchmarks", "tests", "docs", "pyproject.toml", "README.md")
_FILES, _PACK = "pipeline/store/files.py", "pipeline/store/pack_store.py"
_SEALED, _TABLES = "pipeline/store/formats/sealed.py", "pipeline/store/formats/tables.py"
_SWEEP, _CACHE = "pipeline/store/sweep_store.py", "pipeline/numerics/program_cache.py"
_LOCK = "pipeline/store/driver_lock.py"
_OBJECTS, _COPY = "pipeline/store/backends/objects.py", "pipeline/store/backends/local_copy.py"


@dataclass(frozen=True)
class Mutant:
    """What is taken out, in words, and how: in which file which text becomes which."""

    what: str
    file: str
    text: str
    becomes: str

    def times(self, root: Path) -> int:
        """How often the text stands in its file."""
        return (root / self.file).read_text(encoding="utf-8").count(self.text)

    def apply(self, root: Path) -> None:
        """Replace the text, which must stand there once."""
        path = root / self.file
        content = path.read_text(encoding="utf-8")
        assert self.times(root) == 1, f"{self.what}: the text to replace stands there {self.times(root)} times"
        path.write_text(content.replace(self.text, self.becomes), encoding="utf-8")


MUTANTS = (
    Mutant("sync of a file before its rename", _FILES, "            os.fsync(stream.fileno())\n", ""),
    Mutant("rename: files written in place", _FILES, 'path.with_name(f".{path.name}.{os.getpid()}.tmp")', "path"),
    Mutant(
        "sync of the folder after a rename",
        _FILES,
        "    sync_folder(path.parent)\n    return hashlib",
        "    return hashlib",
    ),
    Mutant(
        "temporary file removed after an error",
        _FILES,
        "        temporary.unlink(missing_ok=True)\n        raise",
        "        raise",
    ),
    Mutant(
        "sync of a new folder into its parent",
        _FILES,
        "        path.chmod(SHARED_FOLDER)\n    sync_folder(path.parent)\n",
        "        path.chmod(SHARED_FOLDER)\n",
    ),
    Mutant("sync of the folders made above it", _FILES, "        sync_folder(parent.parent)\n", ""),
    Mutant(
        "sync of a claimed attempt",
        _FILES,
        "        stream.write(content)\n    sync_folder(path.parent)\n    return True",
        "        stream.write(content)\n    return True",
    ),
    Mutant("exclusive claim of an attempt", _FILES, "os.O_CREAT | os.O_EXCL", "os.O_CREAT"),
    Mutant(
        "checksum of a file that a record names", _FILES, "hashlib.sha256(content).hexdigest() != sha256:", "False:"
    ),
    Mutant(
        "checksum of a sealed document",
        _SEALED,
        "isinstance(body, dict) and _digest(canonical, number) == digest:",
        "isinstance(body, dict):",
    ),
    Mutant("checksum of a large document", _SEALED, "if _digest(text, int(tail[1])).encode() != tail[2]:", "if False:"),
    Mutant(
        "checksums of Parquet's pages when read",
        _TABLES,
        "page_checksum_verification=True",
        "page_checksum_verification=False",
    ),
    Mutant(
        "checksums of Parquet's pages when written", _TABLES, "write_page_checksum=True", "write_page_checksum=False"
    ),
    Mutant(
        "fence before a record is written",
        _PACK,
        "        self._refuse_if_fenced(record.attempt)\n        name =",
        "        name =",
    ),
    Mutant("fence after a record was written", _PACK, "if self.newest_attempt() > record.attempt:", "if False:"),
    Mutant(
        "removal of an overtaken attempt's record",
        _PACK,
        "            if self._damage(record) is not None:\n                self.files.delete([name])\n",
        "",
    ),
    Mutant(
        "fence told where a file was cleared away",
        _PACK,
        "            self._refuse_if_fenced(attempt)\n            raise",
        "            raise",
    ),
    Mutant(
        "check of what a record names",
        _PACK,
        "                self.files.get(entry.name, entry.sha256)\n",
        "                pass\n",
    ),
    Mutant(
        "attempts before sequences in the order",
        "pipeline/store/records/record.py",
        "return self.attempt, self.sequence",
        "return self.sequence, self.attempt",
    ),
    Mutant(
        "removal of old records before their files",
        _PACK,
        "        self.files.delete([name for name in unnamed if name.endswith(RECORD_ENDING)], is_durable=True)\n"
        "        self.files.delete([name for name in unnamed if not name.endswith(RECORD_ENDING)])\n",
        "        self.files.delete([name for name in unnamed if not name.endswith(RECORD_ENDING)])\n"
        "        self.files.delete([name for name in unnamed if name.endswith(RECORD_ENDING)], is_durable=True)\n",
    ),
    Mutant(
        "sync between the two removals",
        "pipeline/store/backends/posix.py",
        "        if names and is_durable:\n            sync_folder(self.folder)\n",
        "",
    ),
    Mutant(
        "second generation kept",
        "pipeline/training/recorder.py",
        "remove_unnamed(self.attempt, [record, before])",
        "remove_unnamed(self.attempt, [record])",
    ),
    Mutant("the driver's lock", _LOCK, "fcntl.LOCK_SH if self._is_worker else fcntl.LOCK_EX", "fcntl.LOCK_SH"),
    Mutant(
        "copies of the documents",
        _SWEEP,
        "        for folder in (self.folder, self.copies):\n            write_file(folder / name",
        "        for folder in (self.folder,):\n            write_file(folder / name",
    ),
    Mutant(
        "a new plan beside the old one until it is named",
        _SWEEP,
        'name = f"plan-{hashlib.sha256(content).hexdigest()[:16]}.json"',
        'name = "plan-0000000000000000.json"',
    ),
    Mutant(
        "checksum of a compiled program",
        _CACHE,
        "return content if content[-_SEAL_BYTES:] == _seal(content[:-_SEAL_BYTES]) else None",
        "return content",
    ),
    Mutant("sync of a compiled program", _CACHE, "        os.fsync(stream.fileno())\n", ""),
    Mutant(
        "an older forecast never replaces a newer one",
        "pipeline/store/stored_forecast.py",
        "kept.orders != orders and not _is_ahead(orders, kept.orders)",
        "False",
    ),
    Mutant("If-None-Match of a claim on an object store", _OBJECTS, ', content, mode="create")', ", content)"),
    Mutant(
        "equal content of a claim whose reply was lost",
        _OBJECTS,
        "except AlreadyExistsError:\n                return self._read(name) == content",
        "except AlreadyExistsError:\n                return False",
    ),
    Mutant("If-Match of a sweep document", _OBJECTS, 'mode={"e_tag": tag}', 'mode="overwrite"'),
    Mutant(
        "comparison of a sweep document with the one it continues",
        _OBJECTS,
        "            if now != before:\n                return now == content\n",
        "",
    ),
    Mutant("checksum of an object that a record names", _OBJECTS, "if sha256 is not None and", "if False and"),
    Mutant(
        "names of objects that would lead out of a folder", _COPY, "return parts if is_safe else None", "return parts"
    ),
    Mutant(
        "hashes of files that an earlier copy has",
        _COPY,
        "    except CorruptFileError:\n        return False\n    return True",
        "    except CorruptFileError:\n        return True\n    return True",
    ),
    Mutant(
        "refusal to write a plan beside workers", _COPY, "if before is not None and (workers", "if False and (workers"
    ),
    Mutant("refusal to fetch one sweep over another", _COPY, "if before not in (None,", "if None not in (None,"),
)
_STORE = "tests/store/test_commits.py"
# Which file of tests is tried first, by the file that is changed.
_FIRST = {
    _FILES: "tests/store/test_files.py",
    _SEALED: "tests/store/test_files.py",
    _TABLES: "tests/store/test_files.py",
    _CACHE: "tests/numerics/test_program_cache.py",
    _LOCK: "tests/store/test_sweep_folder.py",
    _SWEEP: "tests/store/test_sweep_folder.py",
    _OBJECTS: "tests/store/test_backends.py",
    _COPY: "tests/store/test_object_stores.py",
    "pipeline/store/stored_forecast.py": "tests/store/test_stored_forecast.py",
}
TESTS = (
    *dict.fromkeys(_FIRST.values()),
    _STORE,
    "tests/store/plans/test_plan_columns.py",
    "tests/store/test_many_runs.py",
    "tests/faults/test_crash_states.py",
    "tests/sweeps/test_repair.py",
)


def failed_test(mutant: Mutant | None, folder: Path) -> str | None:
    """The first test that fails with this mutant (None: without one), in a copy below `folder`; None if none does."""
    root = folder / "mutated"
    root.mkdir()
    for name in _COPIED:
        source = ROOT / name
        shutil.copytree(source, root / name) if source.is_dir() else shutil.copy(source, root / name)
    if mutant is not None:
        mutant.apply(root)
    first = _FIRST.get(mutant.file, _STORE) if mutant is not None else TESTS[0]
    found = _failed(root, [first]) or _failed(root, [test for test in TESTS if test != first])
    shutil.rmtree(root)
    return found


def _failed(root: Path, tests: Sequence[str]) -> str | None:
    command = [sys.executable, "-m", "pytest", "-n0", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *tests]
    # On a busy machine this one fails by itself.
    command += ["-k", "not ten_thousand"]
    environment = {**os.environ, "PYTHONPATH": str(root), "SEEDBED_FAULTS": "3"}
    ended = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", ended.stdout, re.M)
    return found[1].partition("[")[0] if ended.returncode and found else None


def main() -> int:
    """Try the original, then every mutant, and say which test noticed it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    parser.add_argument("--only", default="", help="mutants with this in their words")
    given = parser.parse_args()
    lines = ["| taken out | file | a test that fails without it |", "| --- | --- | --- |"]
    with tempfile.TemporaryDirectory(prefix="seedbed-mutants-") as temporary:
        assert (failing := failed_test(None, Path(temporary))) is None, f"the original fails {failing}"
        for mutant in MUTANTS:
            if given.only in mutant.what:
                found = failed_test(mutant, Path(temporary))
                name = "none" if found is None else f"`{found.partition('::')[2]}`"
                lines.append(f"| {mutant.what} | `{mutant.file}` | {name} |")
                print(lines[-1], flush=True)
    num_found = sum("| none |" not in line for line in lines[2:])
    told = f"{num_found} of {len(lines) - 2} mutants were found."
    print(told)
    if given.write:
        PAGE.write_text(between(PAGE.read_text(encoding="utf-8"), MARKERS, [told, "", *lines]))
    return int(num_found < len(lines) - 2)


if __name__ == "__main__":
    sys.exit(main())
