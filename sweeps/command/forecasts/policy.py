"""`seedbed policy`: what stopping by forecasts would have saved and lost on a finished sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from analysis.forecasting.control_share import control_runs, stopping_weights
from analysis.outcomes.equal_runs import distinct_runs
from analysis.outcomes.outcomes import Outcomes, decide_outcomes
from analysis.outcomes.subsets import joined
from analysis.stopping.audit import StoppingAudit
from analysis.stopping.fitting import fit_policy
from analysis.stopping.prices import StoppingPrices, stopping_prices
from analysis.stopping.promise import STRICT, Promise
from pipeline.arrays import Bools, Floats
from pipeline.planning.packs import stored_spec
from pipeline.stopping.forecast import StopByForecast
from pipeline.stopping.policy_file import Policy, write_policy
from pipeline.store.history import History
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore

_WIDTH = 120


@dataclass(frozen=True)
class PolicyRequest:
    """Arguments of `seedbed policy`; `windows` are shares of the budget, separated by commas."""

    folders: tuple[Path, ...]
    windows: str | None = None
    lose_at_most: float = STRICT.lose_at_most
    expect_at_most: float | None = None
    is_promised: bool = True
    ahead_steps: float | None = None
    to: Path | None = None
    budget: int | None = None

    def shares(self) -> Sequence[float] | None:
        """The windows, in order; None for the sweep's own.

        Raises StoreError unless they are increasing shares of the budget in (0, 1).
        """
        if self.windows is None:
            return None
        try:
            shares = [float(part) for part in self.windows.split(",")]
        except ValueError:
            shares = [0.0]
        if not all(0 < share < 1 for share in shares) or sorted(set(shares)) != shares:
            raise StoreError(
                f"--windows must be increasing shares of the budget, between 0 and 1, given {self.windows!r}"
            )
        return shares

    def promise(self) -> Promise:
        """What may be lost. Raises StoreError where the shares make no sense, by the names of the options."""
        try:
            return Promise(self.lose_at_most, self.expect_at_most, self.is_promised)
        except ValueError as error:
            options = {"lose_at_most": "--lose-at-most", "expect_at_most": "--expect-at-most"}
            told = str(error).replace("none was wanted", "--point-estimate wants none")
            for name, option in options.items():
                told = told.replace(name, option)
            raise StoreError(told) from error


def run_policy(request: PolicyRequest, as_json: bool, out: Console) -> None:
    """Prints what the rule, schedulers and baselines would have saved and lost, and writes a policy where asked to.

    Of a sweep that ran under the rule it prints what its control share says. Raises StoreError where a sweep is not
    finished, sweeps differ in budget or criterion, or too few runs converged.
    """
    request.promise()
    sweeps = read_sweeps([SweepStore(folder) for folder in request.folders], request.budget)
    try:
        audits = [StoppingAudit.of(sweep.history, sweep.outcomes, rule) for sweep, rule in _ruled(sweeps)]
        prices = _prices([sweep for sweep in sweeps if sweep.rule is None], request)
        policy = None if request.to is None else _fitted(sweeps, request)
    except ValueError as error:
        raise StoreError(_advised(str(error), request)) from error
    if policy is not None and request.to is not None:
        write_policy(request.to, policy)
    if as_json:
        document = {"audits": [audit.to_json() for audit in audits]}
        out.print_json(data=document | ({} if prices is None else prices.to_json()))
        return
    for sentence in (sentence for audit in audits for sentence in audit.sentences()):
        out.print(sentence, markup=False)
    if prices is not None:
        _print(prices, out)
    if policy is not None and request.to is not None:
        out.print(_written(policy, request.to), markup=False)


@dataclass(frozen=True)
class PolicySweep:
    """One sweep, and the rule by forecasts that it ran under, if it did."""

    history: History
    outcomes: Outcomes
    rule: StopByForecast | None


def read_sweeps(stores: Sequence[SweepStore], budget: int | None = None) -> list[PolicySweep]:
    """The sweeps of these folders, of several budgets the runs with this one; equal runs count once.

    Raises StoreError where nothing is committed, criteria differ, or a sweep has several budgets and none is chosen.
    """
    specs = [stored_spec(store) for store in stores]
    criteria = {spec.criterion: store for spec, store in zip(specs, stores, strict=True)}
    if len(criteria) > 1:
        told = "; ".join(f"{store.folder}: {criterion}" for criterion, store in criteria.items())
        raise StoreError(f"these sweeps have different criteria: {told}")
    found = []
    histories = distinct_runs([store.history(budget) for store in stores], stores)
    for store, spec, history in zip(stores, specs, histories, strict=True):
        if spec.criterion.metric not in history.values:
            raise StoreError(f"{store.folder}: nothing is committed yet: there is no {spec.criterion.metric}")
        rule = spec.stopping if isinstance(spec.stopping, StopByForecast) else None
        found.append(PolicySweep(history, decide_outcomes(history, spec.criterion), rule))
    return found


def _ruled(sweeps: Sequence[PolicySweep]) -> Iterator[tuple[PolicySweep, StopByForecast]]:
    yield from ((sweep, sweep.rule) for sweep in sweeps if sweep.rule is not None)


def _prices(sweeps: Sequence[PolicySweep], request: PolicyRequest) -> StoppingPrices | None:
    """Prices on the sweeps that ran under no such rule; None without any."""
    if not sweeps:
        return None
    history = joined([sweep.history for sweep in sweeps])
    return stopping_prices(
        history,
        decide_outcomes(history, sweeps[0].outcomes.criterion),
        request.shares(),
        promise=request.promise(),
        ahead_steps=request.ahead_steps,
    )


def _fitted(sweeps: Sequence[PolicySweep], request: PolicyRequest) -> Policy:
    """The policy of all sweeps; runs that were stopped are stood for by control runs."""
    history = joined([sweep.history for sweep in sweeps])
    return fit_policy(
        history,
        decide_outcomes(history, sweeps[0].outcomes.criterion),
        request.shares(),
        promise=request.promise(),
        weight_R=np.concatenate([_weights(sweep) for sweep in sweeps]),
        is_free_R=np.concatenate([_is_free(sweep) for sweep in sweeps]),
    )


def _weights(sweep: PolicySweep) -> Floats:
    if sweep.rule is None:
        return np.ones(len(sweep.history.runs))
    return stopping_weights(sweep.history, sweep.outcomes, sweep.rule)


def _is_free(sweep: PolicySweep) -> Bools:
    if sweep.rule is None:
        return np.ones(len(sweep.history.runs), dtype=bool)
    return control_runs(sweep.history, sweep.rule)


def _written(policy: Policy, path: Path) -> str:
    promise = Promise(policy.lose_at_most, policy.expect_at_most, policy.is_promised).in_words()
    return (
        f"policy {policy.content_hash} in {path}: learned from {policy.num_runs} runs, calibrated on "
        f"{policy.num_convergers} that converged, {policy.num_lost} of them lost, {promise}\n"
        f"stopping: {{name: forecast, predictor: {path}, lose_at_most: {policy.lose_at_most:g}, control_share: 0.05}}"
    )


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
    if any(prices.ahead_steps_W):
        charged = ", ".join(f"{cost:g}" for cost in prices.ahead_steps_W)
        out.print(f"training ahead is charged at each window that a run reaches: {charged} run-steps")


def promise_sentence(prices: StoppingPrices) -> str:
    """What the thresholds of the rule by forecasts promise, and what they were calibrated on."""
    thresholds = prices.thresholds
    counts = sorted({threshold.num_convergers for threshold in thresholds})
    span = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    lost = max(threshold.num_lost for threshold in thresholds)
    first, last = (f"{np.mean(prices.levels_WK[w]):.3f} at step {prices.steps_W[w]}" for w in (0, -1))
    levels = first if len(prices.steps_W) == 1 else f"{first} to {last}, on average over folds"
    return (
        f"stopped where P(converged) is below {levels}: calibrated, fold by fold, on {span} converged runs, of which "
        f"at most {lost} were lost, "
        f"{prices.promise.in_words()}"
    )


def _table(prices: StoppingPrices) -> Table:
    table = Table(box=None, header_style="bold")
    for column in ("rule", "saved", "of the oracle's", "lost"):
        table.add_column(column, no_wrap=True)
    for price in prices.prices:
        lost = f"{price.num_lost} of {price.num_convergers} (at most {price.lost_upper:.1%})"
        table.add_row(price.name, price.saved.text(), price.of_oracle.text(), lost)
    return table
