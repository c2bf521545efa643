"""Subcommands that read what a sweep left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.store.sweep_store import SweepStore
from sweeps.cli.consoles import err, out
from sweeps.cli.options import (
    Folder,
    Folders,
    OneBudget,
    OneCriterion,
    Results,
    Scores,
    To,
)

result_commands = typer.Typer()
_PANEL = "Results"


@result_commands.command("analyze", hidden=True)
@result_commands.command("analyse", rich_help_panel=_PANEL)
def analyse_command(
    folders: Folders,
    budget: OneBudget = None,
    criterion: OneCriterion = None,
    to: To = None,
    scores: Scores = False,
) -> None:
    """Analyse outcomes, times to convergence and forecasts; print them and write FOLDER/analysis.json.

    Several sweeps of the same budgets and criterion are analysed as one; runs of each budget are analysed apart. Of
    several, those that cannot be read are named and left out, with exit code 3.

    Example: `seedbed analyse results/quickstart`
    """
    from sweeps.command.analysing import run_analyse
    from sweeps.command.fleet.object_stores import local_sweep
    from sweeps.command.sources import readable_among

    stores, code = readable_among([local_sweep(folder, err) for folder in folders], err)
    run_analyse(stores, budget, to, out, scores, criterion)
    raise typer.Exit(code)


@result_commands.command(rich_help_panel=_PANEL)
def report(folders: Folders, budget: OneBudget = None, criterion: OneCriterion = None, to: To = None) -> None:
    """Analyse, and write FOLDER/report/report.html with its figures as PNG and SVG.

    Several sweeps of the same budgets and criterion are reported as one; runs of each budget are reported apart. Of
    several, those that cannot be read are named and left out, with exit code 3.

    Example: `seedbed report results/quickstart`
    """
    from sweeps.command.fleet.object_stores import local_sweep
    from sweeps.command.reporting import run_report
    from sweeps.command.sources import readable_among

    stores, code = readable_among([local_sweep(folder, err) for folder in folders], err)
    run_report(stores, budget, to, out, criterion)
    raise typer.Exit(code)


@result_commands.command("watch", rich_help_panel=_PANEL)
def watch_command(
    folders: Annotated[
        list[Path], typer.Argument(help="A results folder, or several, of which each has a page.", show_default=False)
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 is any free one.")] = 0,
    budget: OneBudget = None,
    criterion: OneCriterion = None,
) -> None:
    """Serve a page of the sweep that follows its commits, to this machine alone, at an address that holds a token.

    Of several sweeps the first page is a list, which follows them too. Once a sweep has ended, its page leads to its
    report.

    Example: `seedbed watch results/quickstart`
    """
    from sweeps.command.watch.watching import run_watch

    run_watch([SweepStore(folder) for folder in folders], budget, port, out, criterion)


@result_commands.command("read", rich_help_panel=_PANEL)
def read_command(
    folder: Folder,
    readings: Annotated[
        str | None, typer.Option(help="Names of readings, as circuits,forces (default: circuits).", show_default=False)
    ] = None,
) -> None:
    """Read numbers from the weights that a sweep kept, and add them to its history, for forecasts and reports.

    For readings that the sweep did not record, or recorded at other steps; `seedbed list` names them.

    Example: `seedbed read results/quickstart --readings circuits`
    """
    from sweeps.command.reading import run_read

    names = [name.strip() for name in (readings or "").split(",") if name.strip()]
    run_read(SweepStore(folder), names, out)


@result_commands.command("checkpoint", rich_help_panel=_PANEL)
def checkpoint_command(
    run: Annotated[str, typer.Argument(help="A run id, or a unique prefix of one.", show_default=False)],
    step: Annotated[
        int | None, typer.Option("--step", help="The step (default: its last).", show_default=False)
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="The file (default: RUN-STEP.ckpt).", show_default=False)
    ] = None,
    results: Results = None,
) -> None:
    """Write the weights of one run as a checkpoint that Lightning's `load_from_checkpoint` and torch.load read.

    It holds tensors and plain values alone. Exit code: 0, or 3 where the run was looked for in several sweeps of which
    some cannot be read.

    Example: `seedbed checkpoint 3fa2 --step 900 --out lit.ckpt`
    """
    from sweeps.command.checkpointing import run_checkpoint

    raise typer.Exit(run_checkpoint(run, results, step, to, out))


@result_commands.command("export", rich_help_panel=_PANEL)
def export_command(
    folder: Folder,
    parquet: Annotated[bool, typer.Option("--parquet", help="runs.parquet and metrics.parquet (the default).")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="runs.csv and metrics.csv.")] = False,
    zarr: Annotated[bool, typer.Option("--zarr", help="sweep.zarr: an array of runs x steps for each metric.")] = False,
    criterion: OneCriterion = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Where to write (default: FOLDER/export).", show_default=False)
    ] = None,
) -> None:
    """Write the runs and metrics of a sweep as files for data frames, databases and other tools.

    `runs` has a row for each run: hyperparameters, seeds, outcome and newest forecast; `metrics` one for each run and
    step. They are joined by `run_id`.

    Example: `seedbed export results/quickstart --parquet`
    """
    from sweeps.command.exporting import run_export
    from sweeps.command.fleet.object_stores import local_sweep

    chosen = {"parquet": parquet, "csv": csv, "zarr": zarr}
    local = local_sweep(folder, err).folder
    run_export(local, [kind for kind, is_chosen in chosen.items() if is_chosen] or ["parquet"], to, out, criterion)
