"""Odd inputs given to the real command, drawn from a printed seed; exit code 1 if one is not answered well.

    python -m tests.fuzz.run --inputs 10000 --seed 0

An answer is good if it comes within 3 s of processor time and 1 GiB, shows no traceback and no control character, ends
with a documented exit code and a sentence, and writes nothing that its command does not name. `--only N` tries the one
input of that number again. The table of docs/reliability.md is written with `--write`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tests.fuzz import command_lines, environments, other_files, results_folders, sweep_files, table
from tests.fuzz.bases import make_bases
from tests.fuzz.case import Case
from tests.fuzz.judging import problems, state
from tests.fuzz.server import NOBODY, Answer, answered, import_all

# How many of a hundred inputs are of each kind.
_SHARES = {"line": 28, "sweep": 28, "folder": 28, "other": 8, "environment": 8}
# Of those that are of another kind, in an odd environment.
_COMBINED = 0.06


@dataclass(frozen=True)
class Found:
    """One input and what was wrong with its answer."""

    number: int
    kind: str
    line: str
    problems: tuple[str, ...]
    answer: Answer

    def document(self) -> dict[str, Any]:
        """As JSON; without the output where nothing was wrong."""
        answer = self.answer
        kept = {"code": answer.code, "cpu_s": answer.cpu_s, "wall_s": answer.wall_s, "peak_mib": answer.peak_mib}
        told = {"text": answer.text[-2000:], "log": answer.log[-3000:]} if self.problems else {}
        return {"number": self.number, "kind": self.kind, "line": self.line, "problems": self.problems, **kept, **told}


def case_of(number: int, seed: int, base: Path) -> Case:
    """The input of this number."""
    chance = random.Random(f"{seed}/{number}")
    kind = chance.choices(tuple(_SHARES), tuple(_SHARES.values()))[0]
    if kind == "environment":
        return environments.draw(chance, base)
    if kind == "line":
        case = command_lines.draw(chance, lambda work, named: _good_files(base, work, named))
    elif kind == "sweep":
        case = sweep_files.draw(chance)
    else:
        case = (results_folders if kind == "folder" else other_files).draw(chance, base)
    return environments.altered(case, chance) if chance.random() < _COMBINED else case


def _good_files(base: Path, work: Path, named: tuple[str, ...]) -> None:
    """Good files beside a command line, and those of the good folders that it names."""
    for name in ("s.yaml", "forecaster.json", "policy.json"):
        shutil.copy(base / name, work / name)
    for name in {"done", "begun"}.intersection(named):
        results_folders.copied(base / name, work, name)


def tried(number: int, seed: int, base: Path, folder: Path) -> Found:
    """Give the command the input of this number, and judge its answer."""
    case = case_of(number, seed, base)
    for name in ("work", "home", "tmp"):
        (folder / name).mkdir(parents=True)
    case.make(folder / "work")
    if os.geteuid() == 0:
        _give_away(folder)
    before = state(folder)
    answer = answered(case, folder)
    found = tuple(problems(case, answer, before, state(folder)))
    line = " ".join(map(repr, case.arguments))
    extra = {
        **case.environment,
        **{n: v for n in ("stdin", "stdout", "stderr") if (v := getattr(case, n)) in ("closed", "full")},
    }
    remove(folder)
    return Found(number, case.kind, f"{line} {extra}" if extra else line, found, answer)


def _give_away(folder: Path) -> None:
    """Make it nobody's, whom the command runs as."""
    for path, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(os.path.join(path, name), NOBODY, NOBODY, follow_symlinks=False)
    os.chown(folder, NOBODY, NOBODY)


def remove(folder: Path) -> None:
    """Remove a folder in which permissions may have been taken away."""
    for path, folders, _ in os.walk(folder):
        os.chmod(path, 0o700)
        for name in folders:
            if not os.path.islink(os.path.join(path, name)):
                os.chmod(os.path.join(path, name), 0o700)
    shutil.rmtree(folder)


def run(numbers: Iterable[int], given: argparse.Namespace, base: Path) -> Iterator[Found]:
    """Try the numbers in order, until all are tried or the time is over."""
    started = time.monotonic()
    for number in numbers:
        if time.monotonic() - started > given.minutes * 60:
            print(f"the time of {given.minutes:g} minutes was over before all were tried")
            return
        yield tried(number, given.seed, base / "bases", base / "case")


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="try this number alone, and show its output")
    parser.add_argument("--minutes", type=float, default=600.0)
    parser.add_argument(
        "--to", type=Path, help="a file for a line of JSON on each; what it says was good is not tried again"
    )
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    return parser.parse_args(arguments)


def planned(given: argparse.Namespace) -> tuple[dict[int, dict[str, Any]], list[int]]:
    """What is known already, by number, and the numbers to try: all, one, or those that a file lacks or has as bad."""
    if given.only is not None:
        return {}, [given.only]
    numbers = range(given.first, given.first + given.inputs)
    lines = given.to.read_text().splitlines() if given.to is not None and given.to.exists() else []
    documents = [json.loads(line) for line in lines]
    were_bad = {document["number"] for document in documents if document["problems"]}
    # The last line of a number counts.
    known = {document["number"]: {**document, "was_bad": document["number"] in were_bad} for document in documents}
    return known, [number for number in numbers if number not in known or known[number]["problems"]]


def main() -> int:
    """Try everything, print what was not answered well, and the table."""
    given = parsed()
    documents, numbers = planned(given)
    print(f"seed {given.seed}: {len(numbers)} inputs", flush=True)
    import_all()
    with tempfile.TemporaryDirectory(prefix="seedbed-fuzz-") as temporary, _opened(given.to) as stream:
        base = Path(temporary).resolve()
        base.chmod(0o755)
        (base / "bases").mkdir()
        make_bases(base / "bases")
        for found in run(numbers, given, base):
            was_bad = documents.get(found.number, {}).get("was_bad", False)
            documents[found.number] = {**found.document(), "was_bad": was_bad}
            print(json.dumps(documents[found.number]), file=stream, flush=True)
            if found.problems or given.only is not None:
                print(json.dumps(found.document(), indent=1) if given.only is None else found, flush=True)
    tried = [documents[number] for number in sorted(documents)]
    print("\n".join(table.lines(tried, given.seed)))
    if given.write:
        table.write(tried, given.seed)
    return int(any(document["problems"] for document in tried))


def _opened(path: Path | None) -> TextIO:
    """A file to append to, or nothing."""
    return (Path(os.devnull) if path is None else path).open("a", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
