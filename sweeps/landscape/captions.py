"""Captions of figures on the landscape: what is seen, then sweeps of one kind together, with the commit they are of."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from analysis.claims.sweeps import Sweeps
from analysis.figures.style import captioned

_HERE = Path(__file__).resolve().parent
_OTHERS = "Sweeps without a commit are of code that stands in this history in another form."


def landscape_caption(sweeps: Sweeps, names: Sequence[str], *parts: str) -> list[str]:
    """The lines under a figure's title. Sweeps of equal size, budget and commit stand in one sentence.

    Where a sweep's records hold no commit of this history, one sentence says so in place of the commit.
    """
    kinds: dict[tuple[int, int, str], list[str]] = {}
    for name in names:
        history = sweeps[name].history
        commit = commit_of(str(sweeps[name].provenance.get("git_commit") or ""))
        kinds.setdefault((len(history.runs), history.budget, commit), []).append(name)
    facts = [
        f"{', '.join(_joined(of_kind))}: {num_runs:,} runs{' each' if len(of_kind) > 1 else ''} of {budget:,} steps"
        f"{commit and f', commit {commit}'}."
        for (num_runs, budget, commit), of_kind in kinds.items()
    ]
    others = [_OTHERS] if any(not commit for _, _, commit in kinds) else []
    return captioned(parts, [*facts, *others])


def _joined(names: Sequence[str]) -> list[str]:
    """Names that are numbered on from one another as one: `pair_4 to pair_8`."""
    found: list[list[str]] = []
    for name in names:
        stem, _, number = name.rpartition("_")
        if found and number.isdigit() and found[-1][-1] == f"{stem}_{int(number) - 1}":
            found[-1].append(name)
        else:
            found.append([name])
    return [run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in found]


def commit_of(commits: str) -> str:
    """The commit, or several, of a sweep's records; empty where one is not of this repository's history.

    That is where files had been changed, or the commit was made anew later, as by a rebase. Where there is no
    repository to ask, what was recorded is believed.
    """
    found = re.findall(r"[0-9a-f]{7,40}(?:-dirty)?", commits)
    if any(commit.endswith("-dirty") or not _is_of_history(commit) for commit in found):
        return ""
    return ", then ".join(found)


@cache
def _is_of_history(commit: str) -> bool:
    asked = ["git", "-C", str(_HERE), "merge-base", "--is-ancestor", commit, "HEAD"]
    try:
        code = subprocess.run(asked, capture_output=True, check=False).returncode
    except OSError:
        return True
    is_repository = (_HERE.parents[1] / ".git").exists()
    return code == 0 or not is_repository
