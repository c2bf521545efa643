"""`seedbed compare`: two arms under the same seeds, and what one has more than the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from analysis.comparisons.betting import REFUSED_AT, Anytime
from analysis.comparisons.compare import ArmComparison, Effect
from analysis.comparisons.folders import compare_folders, compare_settings
from pipeline.spec.yaml_source import read_value
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from sweeps.command.sources import judged_alike

_WIDTH = 160
_UNITS = {"time": "steps"}
# Sizes of effects whose squares can be reckoned with.
_LEAST, _MOST = 1e-12, 1e12
_READ = (
    "95% is for a number of seeds that was fixed before: read it once. The e-value and the anytime interval hold "
    f'however often you look; an e-value of {REFUSED_AT:g} or more rejects "no difference", at 5%.'
)


def run_compare(
    folders: Sequence[Path], arms: tuple[str, str] | None, where: Sequence[str], metrics: Sequence[str],
    effects: Sequence[str], budget: int | None, as_json: bool, out: Console, criterion: str | None = None,
) -> None:  # fmt: skip
    """Compare two results folders, or two settings of one, and print a table, or JSON.

    Outcomes are by the sweeps' own criterion or by `criterion` (see `judged_alike`). Raises StoreError.
    """
    if len(folders) != (1 if arms else 2):
        raise StoreError("name two results folders, or one and --arms A=VALUE B=VALUE")
    conditions, wanted = _values(where, "--where"), _numbers(effects)
    judged = None if criterion is None else judged_alike([SweepStore(folder) for folder in folders], criterion)
    asked = None if judged is None else judged.criterion
    if arms:
        both = [_values(arm.split(","), "--arms") for arm in arms]
        found = compare_settings(folders[0], both[0], both[1], conditions, metrics, wanted, budget, asked)
    else:
        found = compare_folders(folders[0], folders[1], conditions, metrics, wanted, budget, asked)
    if as_json:
        out.print_json(data=found.to_json() | {"criterion": str(found.pairs.a.outcomes.criterion)})
        return
    _print(found, out)
    if judged is not None and not judged.is_own:
        out.print(f"converged means {judged.criterion}", markup=False)


def _values(given: Sequence[str], option: str) -> dict[str, Any]:
    """Hyperparameter -> value, from texts such as lr=1e-3."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        read = read_value(value, option)
        if not equals or not name.strip() or read.mistakes:
            raise StoreError(f"{option} {text}: should be name=value, such as lr=1e-3")
        found[name.strip()] = read.data
    return found


def _numbers(given: Sequence[str]) -> dict[str, float]:
    found = {}
    for name, value in _values(given, "--effect").items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not _LEAST <= abs(value) <= _MOST:
            raise StoreError(
                f"--effect {name}={value}: should be a number between {_LEAST:g} and {_MOST:g} in size, such as "
                "converged=0.1"
            )
        found[name] = float(value)
    return found


def _print(found: ArmComparison, out: Console) -> None:
    pairs = found.pairs
    out.print(f"b - a over {len(pairs.a_P)} pairs of equal seeds; a: {pairs.a.name}, b: {pairs.b.name}")
    for path, (before, after) in pairs.differing.items():
        out.print(f"  {path}: {before} -> {after}")
    # In a file or a pipe every row stands on one line.
    wide = out if out.is_terminal else Console(file=out.file, width=_WIDTH, highlight=False, markup=False)
    wide.print(_table(found))
    for effect in found.effects.values():
        if (told := _needed(effect)) is not None:
            out.print(told)
    out.print(_READ)
    for note in found.notes:
        out.print(note)


def _table(found: ArmComparison) -> Table:
    table = Table(box=None, header_style="bold")
    for column in ("metric", "a", "b", "b - a (95%)", "by", "pairs", "e-value", "anytime 95%"):
        table.add_column(column, no_wrap=column != "by")
    for effect in found.effects.values():
        table.add_row(
            f"{effect.metric}, {_UNITS[effect.metric]}" if effect.metric in _UNITS else effect.metric,
            _figure(effect.a), _figure(effect.b), effect.difference.concise(), effect.method,
            str(effect.num_pairs), *_anytime(effect.anytime),
        )  # fmt: skip
    return table


def _anytime(found: Anytime | None) -> tuple[str, str]:
    if found is None:
        return "n/a", "n/a"
    return f"{found.e_value:.3g}", f"{_figure(found.low)} to {_figure(found.high)}"


def _figure(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "n/a" if math.isnan(value) else f"{value:+}"


def _needed(effect: Effect) -> str | None:
    """How many seeds more the effect needs."""
    needed = effect.needed
    if needed is None or needed.num_pairs is None or needed.more is None:
        return None
    which = "that is seen (optimistic: it was seen here)" if needed.is_seen else "that is given"
    more = f"{needed.more:,} more than there are" if needed.more else "there are as many"
    told = f"{effect.metric}: the effect {which}, {needed.effect:.3g} {_UNITS.get(effect.metric, '')}".rstrip()
    return f"{told}, needs {needed.num_pairs:,} pairs for 80% power: {more}"
