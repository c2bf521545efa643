"""Subcommands that train forks of runs: what they show of the run, and how much any forecast could know."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.store.sweep_store import SweepStore
from sweeps.cli.consoles import err, out
from sweeps.cli.options import (
    Address,
    AheadReadings,
    BatchFactor,
    DataSeed,
    Folder,
    ForkCost,
    Inline,
    OneBudget,
    Overrides,
    RateFactor,
    Results,
    SpecPath,
)
from sweeps.command.how import How

fork_commands = typer.Typer()
_PANEL = "Forks"


@fork_commands.command("ceiling", rich_help_panel=_PANEL)
def ceiling_command(
    folder: Folder,
    parents: Annotated[int, typer.Option(help="Runs of each setting that are forked, at each window.")] = 64,
    children: Annotated[int, typer.Option(help="Forks of each of them, under data streams of their own.")] = 20,
    windows: Annotated[
        str | None, typer.Option(help="Shares of the budget, as 0,0.05 (default: those with kept states).")
    ] = None,
    budget: OneBudget = None,
    seed: Annotated[int, typer.Option(help="Seed of the sample of parents.")] = 0,
    results: Annotated[
        Path | None, typer.Option("--results", help="Where the forks go (default: FOLDER-ceiling).", show_default=False)
    ] = None,
    address: Address = None,
    inline: Inline = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, to be read by programs.")] = False,
) -> None:
    """Estimate how well any forecast could do: train forks of runs under fresh data, write FOLDER/ceiling.json.

    Runs and forks are judged by the sweep's own criterion, by which they end. The same command continues. Exit codes as
    for launch.

    Example: `seedbed ceiling results/quickstart --parents 32 --windows 0,0.25`
    """
    from sweeps.command.forks.ceiling import CeilingRequest, run_ceiling

    request = CeilingRequest(folder, parents, children, windows, seed, results, How(address, inline), budget)
    raise typer.Exit(run_ceiling(request, as_json, out))


@fork_commands.command("look-ahead", rich_help_panel=_PANEL)
def look_ahead_command(
    folder: Folder,
    window: Annotated[float, typer.Option(help="Share of the budget at which runs are forked; 0: initialisation.")],
    budget: OneBudget = None,
    cost: ForkCost = 0.05,
    rate: RateFactor = 1.5,
    batch: BatchFactor = None,
    data: DataSeed = None,
    readings: AheadReadings = None,
    results: Annotated[
        Path | None, typer.Option("--results", help="Where the forks go (default: FOLDER-ahead).", show_default=False)
    ] = None,
    address: Address = None,
    inline: Inline = False,
) -> None:
    """Train a short, fast fork of every run from a window on, and add what it shows to the sweep's forecasts.

    States must be kept there. The same command continues. Exit codes as for launch.

    Example: `seedbed look-ahead results/quickstart --window 0.05 --cost 0.05`
    """
    from sweeps.command.forks.looking_ahead import LookAheadRequest, names_in, run_look_ahead

    names = names_in(readings)
    request = LookAheadRequest(folder, window, cost, rate, batch, data, names, results, How(address, inline), budget)
    raise typer.Exit(run_look_ahead(request, out))


@fork_commands.command("twins", rich_help_panel=_PANEL)
def twins_command(
    spec: SpecPath,
    overrides: Overrides = None,
    budget: OneBudget = None,
    cost: ForkCost = 0.05,
    rate: RateFactor = 1.5,
    batch: BatchFactor = None,
    data: DataSeed = None,
    readings: AheadReadings = None,
    other: Annotated[
        Path | None, typer.Option("--from", help="Learn from this finished sweep, with its twins.", show_default=False)
    ] = None,
    predictor: Annotated[
        Path | None,
        typer.Option("--predictor", help="Use a file of `seedbed fit --metrics ahead`.", show_default=False),
    ] = None,
    results: Results = None,
    address: Address = None,
    inline: Inline = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print forecasts as JSON, to be read by programs.")] = False,
) -> None:
    """Forecast every run of a sweep before its first step, from a twin of each: same init, trained fast and briefly.

    `seedbed launch` with the same file then trains the runs. Exit codes as for launch.

    Example: `seedbed twins my_sweep.yaml --cost 0.05 --from results/quickstart`
    """
    from sweeps.command.forks.looking_ahead import LookAheadRequest, names_in
    from sweeps.command.forks.twinning import TwinsRequest, run_twins
    from sweeps.command.request import Request

    how = How(address, inline)
    sweep = Request(spec, tuple(overrides or ()), results, how)
    ahead = LookAheadRequest(Path(), 0.0, cost, rate, batch, data, names_in(readings), None, how, budget)
    learned_from = None if other is None else SweepStore(other)
    raise typer.Exit(run_twins(TwinsRequest(sweep, ahead, learned_from, predictor), as_json, out, err))
