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
_OTHER = "by code between two commits"


def landscape_caption(sweeps: Sweeps, names: Sequence[str], *parts: str) -> list[str]:
    """The lines under a figure's title. Sweeps of equal size, budget and commit stand in one sentence."""
    kinds: dict[tuple[int, int, str], list[str]] = {}
    for name in names:
        history = sweeps[name].history
        code = code_of(str(sweeps[name].provenance.get("git_commit") or ""))
        kinds.setdefault((len(history.runs), history.budget, code), []).append(name)
    facts = [
        f"{', '.join(of_kind)}: {num_runs:,} runs{' each' if len(of_kind) > 1 else ''} of {budget:,} steps, {code}."
        for (num_runs, budget, code), of_kind in kinds.items()
    ]
    return captioned(parts, facts)


def code_of(commits: str) -> str:
    """`by commit 0123456789ab`, or that the code was of no commit of this repository's history.

    That is where files had been changed, or the commit was made anew later, as by a rebase. Where there is no
    repository to ask, what was recorded is believed.
    """
    found = re.findall(r"[0-9a-f]{7,40}(?:-dirty)?", commits)
    if not found or any(commit.endswith("-dirty") or not _is_of_history(commit) for commit in found):
        return _OTHER
    return f"by commit {', then '.join(found)}"


@cache
def _is_of_history(commit: str) -> bool:
    asked = ["git", "-C", str(_HERE), "merge-base", "--is-ancestor", commit, "HEAD"]
    try:
        code = subprocess.run(asked, capture_output=True, check=False).returncode
    except OSError:
        return True
    # 1: it is there, on another line. 128: it is not there, or there is no repository, which then knows no HEAD either.
    is_repository = (_HERE.parents[1] / ".git").exists()
    return code == 0 or not is_repository
