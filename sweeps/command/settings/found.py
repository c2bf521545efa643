"""What a search found: its trials, the best of them, and what its race lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from analysis.comparisons.objectives import as_reported
from analysis.comparisons.pruning import PruningAudit, Raced, audit_pruning
from pipeline.counted import counted
from pipeline.spec.search import Search

_SHOWN = 10


@dataclass(frozen=True)
class Trial:
    """A setting that a search tried; `setting` is None where the suggested one was invalid, or none was left.

    `first` is the objective over the first seeds, `value` that over all `num_seeds` it got, larger being better; None
    where it has none. `kept`: it was among the best of its round; `audited`: it was not, and got all seeds by chance.
    """

    setting: Mapping[str, Any] | None
    first: float | None
    kept: bool
    audited: bool
    num_seeds: int
    value: float | None

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Trial:
        """From what `to_json` gives."""
        return cls(**row)


def audit_of(rounds: Sequence[Sequence[Trial]]) -> PruningAudit:
    """What the race of a search lost."""
    return audit_pruning(
        [
            [Raced(one.kept, one.audited, np.nan if one.value is None else one.value) for one in trials if one.setting]
            for trials in rounds
        ]
    )


def best_first(rounds: Sequence[Sequence[Trial]]) -> list[Trial]:
    """The different settings by their value, the best first; those with fewer seeds come after those with more."""
    found = {repr(one.setting): one for trials in rounds for one in trials if one.setting and one.value is not None}
    return sorted(found.values(), key=lambda one: (-one.num_seeds, -_value(one)))


def print_found(rounds: Sequence[Sequence[Trial]], search: Search, folder: Path, as_json: bool, out: Console) -> None:
    """Print the best settings and the audit of the race, or all trials as JSON."""
    ranked = best_first(rounds)
    audit = audit_of(rounds) if search.race else None
    if as_json:
        out.print_json(data=_document(rounds, ranked, search, audit))
        return
    table = Table(box=None, header_style="bold")
    objective = "time, steps" if search.objective == "time" else search.objective
    for column in (*(path.rpartition(".")[2] for path in search.space), "seeds", objective):
        table.add_column(column, no_wrap=True)
    for one in ranked[:_SHOWN]:
        assert one.setting is not None
        values = [f"{x:.4g}" if isinstance(x, float) else str(x) for x in (one.setting[path] for path in search.space)]
        table.add_row(*values, str(one.num_seeds), f"{as_reported(_value(one), search.objective):.4g}")
    out.print(f"{counted(len(ranked), 'setting')} in {counted(len(rounds), 'round')}; the best of them:")
    out.print(table)
    out.print("the figure of the best of many is optimistic: compare it with another under fresh seeds")
    if audit is not None:
        out.print(audit_text(audit))
    out.print(f"results: {folder}")


def audit_text(audit: PruningAudit) -> str:
    """What a race lost, in a line."""
    told = f"race: {audit.num_pruned} settings were not among the best; {audit.num_audited} of them got all seeds"
    if not audit.num_audited:
        return told
    told += " by chance"
    if num_judged := audit.num_audited - audit.num_without_value:
        told += f": {audit.share_better.text()} of {num_judged} beat the best kept, regret {audit.regret:.3g}"
    if audit.num_without_value:
        told += f"; {audit.num_without_value} not compared, without a value or beside kept settings without one"
    return told


def _document(
    rounds: Sequence[Sequence[Trial]], ranked: Sequence[Trial], search: Search, audit: PruningAudit | None
) -> dict[str, Any]:
    """All trials as the objective is reported, and the audit."""
    told: dict[str, Any] = {
        "objective": search.objective,
        "rounds": [[_reported(one, search.objective) for one in trials] for trials in rounds],
        "best": _reported(ranked[0], search.objective) if ranked else None,
    }
    if audit is not None:
        regret = audit.regret if np.isfinite(audit.regret) else None
        told["race"] = {**asdict(audit), "share_better": audit.share_better.to_json(), "regret": regret}
    return told


def _reported(one: Trial, objective: str) -> dict[str, Any]:
    turned = {
        name: None if value is None else as_reported(value, objective)
        for name, value in (("first", one.first), ("value", one.value))
    }
    return {**one.to_json(), **turned}


def _value(one: Trial) -> float:
    assert one.value is not None
    return one.value
