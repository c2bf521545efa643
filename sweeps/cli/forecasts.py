"""Subcommands that forecast, and that score forecasts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from sweeps.cli.consoles import err, out
from sweeps.cli.options import (
    Folder,
    Inline,
    OneBudget,
    OneCriterion,
)

forecast_commands = typer.Typer()
_PANEL = "Forecasts"


@forecast_commands.command("forecast", rich_help_panel=_PANEL)
def forecast_command(
    folder: Folder,
    others: Annotated[
        list[Path] | None,
        typer.Option(
            "--from", help="Learn from this results folder instead; from several, each with --from.", show_default=False
        ),
    ] = None,
    predictor: Annotated[
        Path | None, typer.Option("--predictor", help="Use a file of `seedbed fit`.", show_default=False)
    ] = None,
    any_task: Annotated[
        bool, typer.Option("--any-task", help="Rank runs of another task or model than those learned from, too.")
    ] = False,
    budget: OneBudget = None,
    criterion: OneCriterion = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, to be read by programs.")] = False,
    watch: Annotated[
        float | None,
        typer.Option(
            help="Forecast again every so many seconds, where something was committed, until the sweep is done.",
            min=1,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Forecast which of the runs in training will converge, when and why, beside scores on unseen seeds.

    The newest forecast is kept in FOLDER/forecast.json, from which `status` and the dashboards read it; one for a
    single --budget of several, or by another --criterion, is printed alone.

    Example: `seedbed forecast results/quickstart`
    """
    from sweeps.command.forecasts import forecasting
    from sweeps.command.sources import readable_among

    trained, code = readable_among([SweepStore(other) for other in others or ()], err)
    request = forecasting.ForecastRequest(SweepStore(folder), tuple(trained), predictor, any_task, budget, criterion)
    if watch is None:
        forecasting.run_forecast(request, as_json, out, err)
    elif as_json:
        raise StoreError(f"--watch prints lines, not JSON: read {folder / 'forecast.json'}, which it writes")
    else:
        forecasting.watch(request, watch, out, err)
    raise typer.Exit(code)


@forecast_commands.command("fit", rich_help_panel=_PANEL)
def fit_command(
    folders: Annotated[list[Path], typer.Argument(help="Results folders to learn from.", show_default=False)],
    to: Annotated[Path, typer.Option("--out", help="The file to write (JSON).", show_default=False)],
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Learn only from metrics that begin with this, such as ahead or ahead,circuits.", show_default=False
        ),
    ] = None,
    budget: OneBudget = None,
    criterion: OneCriterion = None,
) -> None:
    """Fit a forecaster to finished runs and write it to a file, for `seedbed forecast --predictor`.

    Example: `seedbed fit results/quickstart --out quickstart.forecaster.json`
    """
    from sweeps.command.forecasts.forecasting import run_fit
    from sweeps.command.sources import readable_among

    chosen = [name.strip() for name in (metrics or "").split(",") if name.strip()]
    stores, code = readable_among([SweepStore(folder) for folder in folders], err)
    run_fit(stores, to, chosen, budget, out, criterion)
    raise typer.Exit(code)


@forecast_commands.command("policy", rich_help_panel=_PANEL)
def policy_command(
    folders: Annotated[list[Path], typer.Argument(help="Results folders of finished sweeps.", show_default=False)],
    windows: Annotated[
        str | None, typer.Option(help="Where to decide, as shares of the budget: 0.1,0.25,0.5.", show_default=False)
    ] = None,
    lose_at_most: Annotated[
        float, typer.Option(help="Share of the converging runs that is lost at most, with 95% confidence.")
    ] = 0.01,
    expect_at_most: Annotated[
        float | None, typer.Option(help="Share of them that is lost on average at most.", show_default=False)
    ] = None,
    point_estimate: Annotated[
        bool, typer.Option("--point-estimate", help="Thresholds by the share lost so far, which promise nothing.")
    ] = False,
    ahead_steps: Annotated[
        float | None,
        typer.Option(help="Run-steps that columns `ahead.*` cost a run at each window.", show_default=False),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Also write a policy file, for `stopping:` of a sweep.")
    ] = None,
    budget: OneBudget = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what stopping runs by forecasts would have saved, and which converging runs it would have lost.

    Runs are judged by the sweep's own criterion, by which they ended; there is no --criterion, since under another one
    they would have ended at other steps. A sweep that runs under the policy must have the same criterion and budget.

    Example: `seedbed policy results/quickstart --lose-at-most 0.05`
    """
    from sweeps.command.forecasts.policy import PolicyRequest, run_policy
    from sweeps.command.sources import readable_among

    stores, code = readable_among([SweepStore(folder) for folder in folders], err)
    request = PolicyRequest(
        tuple(store.folder for store in stores),
        windows,
        lose_at_most,
        expect_at_most,
        not point_estimate,
        ahead_steps,
        to,
        budget,
    )
    run_policy(request, as_json, out)
    raise typer.Exit(code)


@forecast_commands.command("benchmark", rich_help_panel=_PANEL)
def benchmark_command(
    tasks: Annotated[
        list[str] | None, typer.Argument(help="Tasks of sweeps/benchmark (default: all).", show_default=False)
    ] = None,
    results: Annotated[Path, typer.Option("--results", help="The folder of their results.")] = Path(
        "results/benchmark"
    ),
    predictor: Annotated[
        Path | None,
        typer.Option("--predictor", help="A Python file with predictors of your own.", show_default=False),
    ] = None,
    inline: Inline = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, to be read by programs.")] = False,
) -> None:
    """Train the forecast benchmark, and score predictors on its frozen test seeds.

    The same command continues: finished sweeps are used as they are. Exit code: as for launch.

    Example: `seedbed benchmark lookup_a --predictor my_predictor.py`
    """
    from sweeps.command.forecasts.benchmarking import run_benchmark

    raise typer.Exit(run_benchmark(tasks or [], results, predictor, inline, as_json, out))
