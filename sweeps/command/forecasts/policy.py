"""`seedbed policy`: what stopping by forecasts would have saved and lost on a finished sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from analysis.forecasting.evaluation import WINDOWS
from analysis.outcomes.outcomes import Outcomes, decide_outcomes
from analysis.outcomes.subsets import joined
from analysis.stopping.prices import LOSE_AT_MOST, StoppingPrices, stopping_prices
from analysis.stopping.promise import CONFIDENCE
from pipeline.planning.packs import stored_spec
from pipeline.store.history import History
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore

_WIDTH = 120


@dataclass(frozen=True)
class PolicyRequest:
    """Arguments of `seedbed policy`; `windows` are shares of the budget, separated by commas."""

    folders: tuple[Path, ...]
    windows: str | None = None
    lose_at_most: float = LOSE_AT_MOST
    is_promised: bool = True
    ahead_steps: float = 0.0

    def shares(self) -> Sequence[float]:
        """The windows, in order. Raises StoreError unless they are increasing shares of the budget in (0, 1)."""
        if self.windows is None:
            return WINDOWS
        try:
            shares = [float(part) for part in self.windows.split(",")]
        except ValueError:
            shares = [0.0]
        if not all(0 < share < 1 for share in shares) or sorted(set(shares)) != shares:
            raise StoreError(
                f"--windows must be increasing shares of the budget, between 0 and 1, given {self.windows!r}"
            )
        return shares

    def require_share(self) -> None:
        """Raises StoreError unless `lose_at_most` is a share."""
        if not 0 < self.lose_at_most < 1:
            raise StoreError(f"--lose-at-most must be between 0 and 1, given {self.lose_at_most:g}")


def run_policy(request: PolicyRequest, as_json: bool, out: Console) -> None:
    """Prints what the rule, schedulers and baselines would have saved and lost.

    Raises StoreError where a sweep is not finished, sweeps differ in budget or criterion, or too few runs converged.
    """
    request.require_share()
    history, outcomes = read_sweeps([SweepStore(folder) for folder in request.folders])
    try:
        prices = stopping_prices(
            history,
            outcomes,
            request.shares(),
            lose_at_most=request.lose_at_most,
            is_promised=request.is_promised,
            ahead_steps=request.ahead_steps,
        )
    except ValueError as error:
        raise StoreError(_advised(str(error), request)) from error
    if as_json:
        out.print_json(data=prices.to_json())
    else:
        _print(prices, out)


def read_sweeps(stores: Sequence[SweepStore]) -> tuple[History, Outcomes]:
    """The runs of all sweeps as one history, and their outcomes.

    Raises StoreError where nothing is committed, or budgets or criteria differ.
    """
    criteria = {stored_spec(store).criterion: store for store in stores}
    if len(criteria) > 1:
        told = "; ".join(f"{store.folder}: {criterion}" for criterion, store in criteria.items())
        raise StoreError(f"these sweeps have different criteria: {told}")
    histories = [store.history() for store in stores]
    for store, history in zip(stores, histories, strict=True):
        if not history.values:
            raise StoreError(f"{store.folder}: nothing is committed yet")
    try:
        history = joined(histories)
        return history, decide_outcomes(history, next(iter(criteria)))
    except ValueError as error:
        raise StoreError(str(error)) from error


def _advised(problem: str, request: PolicyRequest) -> str:
    if "cannot promise" not in problem:
        return problem
    return (
        f"{problem}. Add runs, allow more with --lose-at-most (now {request.lose_at_most:g}), or give --point-estimate "
        "for thresholds that promise nothing"
    )


def _print(prices: StoppingPrices, out: Console) -> None:
    convergers = prices.prices[0].num_convergers
    out.print(
        f"{prices.sweep}: {prices.num_runs} runs, {convergers} converged, {prices.run_steps:,} run-steps", markup=False
    )
    steps = ", ".join(map(str, prices.steps_W))
    out.print(f"decisions at steps {steps} of {prices.budget}; every run is judged by models and thresholds of others")
    out.print(promise_sentence(prices), markup=False)
    console = out if out.is_terminal else Console(file=out.file, width=_WIDTH, highlight=False, markup=False)
    console.print(_table(prices))
    out.print("saved: share of the run-steps without a rule, where converging runs end as they did (95% interval)")
    out.print(
        f"of the oracle's: it stops every run that will not converge at step {prices.oracle_step}; schedulers compare "
        f"runs by {prices.loss}"
    )
    out.print("lost: runs stopped that converged; in brackets the 95% upper bound (Clopper and Pearson) of their share")
    if prices.ahead_steps:
        out.print(f"training ahead is charged {prices.ahead_steps:g} run-steps at each window that a run reaches")


def promise_sentence(prices: StoppingPrices) -> str:
    """What the thresholds of the rule by forecasts promise, and what they were calibrated on."""
    share, thresholds = f"{prices.lose_at_most:.2g}", prices.thresholds
    counts = sorted({threshold.num_convergers for threshold in thresholds})
    span = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    lost = max(threshold.num_lost for threshold in thresholds)
    level = f"stopped where P(converged) is below {min(t.value for t in thresholds):.3f}"
    if min(t.value for t in thresholds) != max(t.value for t in thresholds):
        level += f" to {max(t.value for t in thresholds):.3f}"
    if prices.is_promised:
        return (
            f"{level}: calibrated, fold by fold, on {span} converged runs, of which at most {lost} were lost, to lose "
            f"at most {share} with {CONFIDENCE:.0%} confidence"
        )
    return f"{level}: at most {share} of {span} calibrating converged runs were lost, which promises nothing"


def _table(prices: StoppingPrices) -> Table:
    table = Table(box=None, header_style="bold")
    for column in ("rule", "saved", "of the oracle's", "lost"):
        table.add_column(column, no_wrap=True)
    for price in prices.prices:
        lost = f"{price.num_lost} of {price.num_convergers} (at most {price.lost_upper:.1%})"
        table.add_row(price.name, price.saved.text(), price.of_oracle.text(), lost)
    return table
