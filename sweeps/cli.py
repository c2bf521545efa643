"""The `seedbed` command: its subcommands and their options.

Each is implemented in a file of `sweeps/command/`, imported on demand, so reading results loads no torch.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.spec.errors import SpecError
from pipeline.store.files import CorruptFileError
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from sweeps.command.exit_codes import BAD_INPUT, FAILED

app = typer.Typer(
    name="seedbed",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(soft_wrap=True, highlight=False, markup=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)

SpecPath = Annotated[Path, typer.Argument(help="A sweep file.", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Values put in place of the file's, as field=value.", show_default=False)
]
Results = Annotated[
    Path | None, typer.Option("--results", help="The results folder (default: under results/).", show_default=False)
]
Folder = Annotated[Path, typer.Argument(help="A results folder.", show_default=False)]
Folders = Annotated[
    list[Path], typer.Argument(help="A results folder, or several to be read as one.", show_default=False)
]
To = Annotated[
    Path | None,
    typer.Option(
        "--out", help="Where to write (default: the results folder; for several, one beside the first).",
        show_default=False,
    ),
]  # fmt: skip
Address = Annotated[
    str | None, typer.Option(help="An existing Ray cluster, `auto` or HOST:PORT; its nodes share the results folder.")
]
Inline = Annotated[bool, typer.Option("--inline", help="Train in this process, without Ray.")]
ForkCost = Annotated[float, typer.Option(help="Examples of a fork, as a share of those of a whole run.")]
RateFactor = Annotated[float, typer.Option(help="Learning rate of a fork, in its run's.")]
BatchFactor = Annotated[
    float | None,
    typer.Option(help="Batch size of a fork, in its run's (default: 1/4 where possible).", show_default=False),
]
DataSeed = Annotated[
    int | None,
    typer.Option(
        "--data-seed", help="One data stream for all forks (default: each its run's own).", show_default=False
    ),
]
AheadReadings = Annotated[
    str | None, typer.Option("--readings", help="Readings of the forks, as circuits (the default).", show_default=False)
]
Smoke = Annotated[bool, typer.Option("--smoke", help="A short test run: a few seeds and chunks only.")]


def _print_version(is_asked: bool) -> None:
    if is_asked:
        out.print(f"seedbed {version('seedbed')}")
        raise typer.Exit


@app.callback()
def seedbed(
    is_version_asked: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Train thousands of small transformers that differ by seed, and forecast which will converge."""


@app.command("list")
def list_() -> None:
    """List the sweeps that come with seedbed, and the names that a sweep file may use.

    Example: `seedbed list`
    """
    from sweeps.command.listing import list_everything

    list_everything(out)


@app.command()
def plan(
    spec: SpecPath,
    overrides: Overrides = None,
    results: Results = None,
    address: Address = None,
    inline: Inline = False,
    smoke: Smoke = False,
) -> None:
    """Show what a launch would do: runs, packs, what varies, memory, time, disk. Writes nothing.

    Example: `seedbed plan sweeps/quickstart.yaml budget=2000`
    """
    from sweeps.command.planning import show_plan
    from sweeps.command.request import Request

    show_plan(Request(spec, tuple(overrides or ()), results, address, inline, smoke), out)


@app.command()
def launch(
    spec: SpecPath,
    overrides: Overrides = None,
    results: Results = None,
    address: Address = None,
    inline: Inline = False,
    smoke: Smoke = False,
) -> None:
    """Train every unfinished run of a sweep, through Ray Tune.

    Ctrl-C commits and prints how to resume; the same command continues. Exit code: 0 complete, 3 incomplete,
    1 failed, 2 bad input.

    Example: `seedbed launch sweeps/quickstart.yaml`
    """
    from sweeps.command.launching import run_launch
    from sweeps.command.request import Request

    raise typer.Exit(run_launch(Request(spec, tuple(overrides or ()), results, address, inline, smoke), out))


@app.command()
def resume(folder: Folder, address: Address = None, inline: Inline = False) -> None:
    """Continue the sweep in a results folder from its newest commits. Exit codes as for launch.

    Example: `seedbed resume results/quickstart`
    """
    from sweeps.command.launching import run_resume

    raise typer.Exit(run_resume(SweepStore(folder), address, inline, out))


@app.command()
def status(
    folder: Folder,
    runs: Annotated[bool, typer.Option("--runs", help="Also print a line for every run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the progress of a sweep: runs done, converged, diverged, in progress. Exit code 0 if complete, else 3.

    Example: `seedbed status results/quickstart`
    """
    from sweeps.command.status import show_status

    raise typer.Exit(show_status(SweepStore(folder), runs, as_json, out))


@app.command("analyze", hidden=True)
@app.command("analyse")
def analyse_command(folders: Folders, to: To = None) -> None:
    """Analyse outcomes, times to convergence and forecasts; print them and write FOLDER/analysis.json.

    Several sweeps of the same budget and criterion are analysed as one.

    Example: `seedbed analyse results/quickstart`
    """
    from sweeps.command.analysing import run_analyse

    run_analyse([SweepStore(folder) for folder in folders], to, out)


@app.command("fit")
def fit_command(
    folders: Annotated[list[Path], typer.Argument(help="Results folders to learn from.", show_default=False)],
    to: Annotated[Path, typer.Option("--out", help="The file to write (JSON).", show_default=False)],
    metrics: Annotated[
        str | None,
        typer.Option(help="Learn from metrics that begin so alone, as ahead or ahead,circuits.", show_default=False),
    ] = None,
) -> None:
    """Fit a forecaster to finished runs and write it to a file, for `seedbed forecast --predictor`.

    Example: `seedbed fit results/quickstart --out quickstart.forecaster.json`
    """
    from sweeps.command.forecasts.forecasting import run_fit

    chosen = [name.strip() for name in (metrics or "").split(",") if name.strip()]
    run_fit([SweepStore(folder) for folder in folders], to, chosen, out)


@app.command("forecast")
def forecast_command(
    folder: Folder,
    other: Annotated[
        Path | None, typer.Option("--from", help="Learn from this results folder instead.", show_default=False)
    ] = None,
    predictor: Annotated[
        Path | None, typer.Option("--predictor", help="Use a file of `seedbed fit`.", show_default=False)
    ] = None,
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
    """Which of the runs that still train will converge, when, why, and how good such forecasts were on unseen seeds.

    The newest forecast is kept in FOLDER/forecast.json, from which `status` and the dashboards read it.

    Example: `seedbed forecast results/quickstart`
    """  # fmt: skip
    from sweeps.command.forecasts import forecasting

    store, trained = SweepStore(folder), None if other is None else SweepStore(other)
    if watch is None:
        forecasting.run_forecast(store, trained, predictor, as_json, out, err)
    elif as_json:
        raise StoreError(f"--watch prints lines, not JSON: read {folder / 'forecast.json'}, which it writes")
    else:
        forecasting.watch(store, trained, predictor, watch, out, err)


@app.command("ceiling")
def ceiling_command(
    folder: Folder,
    parents: Annotated[int, typer.Option(help="Runs of each setting that are forked, at each window.")] = 64,
    children: Annotated[int, typer.Option(help="Forks of each of them, under data streams of their own.")] = 20,
    windows: Annotated[
        str | None, typer.Option(help="Shares of the budget, as 0,0.05 (default: those with kept states).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sample of parents.")] = 0,
    results: Annotated[
        Path | None, typer.Option("--results", help="Where the forks go (default: FOLDER-ceiling).", show_default=False)
    ] = None,
    address: Address = None,
    inline: Inline = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, to be read by programs.")] = False,
) -> None:
    """How well any forecast could do: trains forks of runs under fresh data and writes FOLDER/ceiling.json.

    The same command continues. Exit codes as for launch.

    Example: `seedbed ceiling results/quickstart --parents 32 --windows 0,0.25`
    """
    from sweeps.command.forks.ceiling import CeilingRequest, run_ceiling

    request = CeilingRequest(folder, parents, children, windows, seed, results, address, inline)
    raise typer.Exit(run_ceiling(request, as_json, out))


@app.command("policy")
def policy_command(
    folders: Annotated[list[Path], typer.Argument(help="Results folders of finished sweeps.", show_default=False)],
    windows: Annotated[
        str | None, typer.Option(help="Where to decide, as shares of the budget: 0.1,0.25,0.5.", show_default=False)
    ] = None,
    lose_at_most: Annotated[float, typer.Option(help="Share of the converging runs that may be lost.")] = 0.01,
    point_estimate: Annotated[
        bool, typer.Option("--point-estimate", help="Thresholds by the share lost so far, which promise nothing.")
    ] = False,
    ahead_steps: Annotated[
        float, typer.Option(help="Run-steps that columns `ahead.*` cost each run at each window.")
    ] = 0.0,
    to: Annotated[
        Path | None, typer.Option("--out", help="Also write a policy file, for `stopping:` of a sweep.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What stopping runs by forecasts would have saved, and which converging runs it would have lost.

    Example: `seedbed policy results/quickstart --lose-at-most 0.05`
    """
    from sweeps.command.forecasts.policy import PolicyRequest, run_policy

    request = PolicyRequest(tuple(folders), windows, lose_at_most, not point_estimate, ahead_steps, to)
    run_policy(request, as_json, out)


@app.command()
def report(folders: Folders, to: To = None) -> None:
    """Analyse, and write FOLDER/report/report.html with its figures as PNG and SVG.

    Several sweeps of the same budget and criterion are reported as one.

    Example: `seedbed report results/quickstart`
    """
    from sweeps.command.reporting import run_report

    run_report([SweepStore(folder) for folder in folders], to, out)


@app.command("look-ahead")
def look_ahead_command(
    folder: Folder,
    window: Annotated[float, typer.Option(help="Share of the budget at which runs are forked; 0: initialisation.")],
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
    request = LookAheadRequest(folder, window, cost, rate, batch, data, names, results, address, inline)
    raise typer.Exit(run_look_ahead(request, out))


@app.command("twins")
def twins_command(
    spec: SpecPath,
    overrides: Overrides = None,
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

    sweep = Request(spec, tuple(overrides or ()), results, address, inline)
    ahead = LookAheadRequest(Path(), 0.0, cost, rate, batch, data, names_in(readings), None, address, inline)
    learned_from = None if other is None else SweepStore(other)
    raise typer.Exit(run_twins(TwinsRequest(sweep, ahead, learned_from, predictor), as_json, out, err))


@app.command("read")
def read_command(
    folder: Folder,
    readings: Annotated[
        str | None, typer.Option(help="Names of readings, as circuits,forces (default: circuits).", show_default=False)
    ] = None,
) -> None:
    """Read numbers from the weights that a sweep kept, and add them to its history, for forecasts and reports.

    Of a reading that the sweep did not record, or recorded at other steps; `seedbed list` names them.

    Example: `seedbed read results/quickstart --readings circuits`
    """
    from sweeps.command.reading import run_read

    names = [name.strip() for name in (readings or "").split(",") if name.strip()]
    run_read(SweepStore(folder), names, out)


@app.command("replay")
def replay_command(
    run: Annotated[str, typer.Argument(help="A run id, or a unique prefix of one.", show_default=False)],
    first: Annotated[int, typer.Option("--from", help="First step to measure.")],
    last: Annotated[int, typer.Option("--to", help="Last step to measure.")],
    every: Annotated[int, typer.Option(help="Steps between two measurements.")] = 5,
    probe: Annotated[list[str] | None, typer.Option(help="Keep metrics that begin with this (repeatable).")] = None,
    weights: Annotated[bool, typer.Option("--weights", help="Also keep the weights at each step.")] = False,
    results: Results = None,
) -> None:
    """Train one run again from its nearest snapshot and measure it more densely; checked by hash on the way.

    Example: `seedbed replay 3fa2 --from 900 --to 1300 --every 5 --probe induction_score --weights`
    """
    from sweeps.command.replaying import run_replay

    run_replay(run, results, (first, last, every), tuple(probe or ()), weights, out)


@app.command()
def reproduce(
    papers: Annotated[
        list[str] | None,
        typer.Argument(help="Papers, as folders of sweeps/ such as huang_2024 (default: all).", show_default=False),
    ] = None,
    profile: Annotated[str, typer.Option(help="`fast` (minutes) or `full` (every sweep at its full size).")] = "fast",
    results: Annotated[
        Path | None,
        typer.Option("--results", help="The results folder (default: results/reproduce/PROFILE).", show_default=False),
    ] = None,
    inline: Inline = False,
) -> None:
    """Train the sweeps of papers, judge what the papers claim, and write a table and figures.

    The same command continues: finished sweeps are used as they are. Exit code: 0 all judged, 3 incomplete, else
    as for launch.

    Example: `seedbed reproduce huang_2024`
    """
    from sweeps.command.reproducing import run_reproduce

    raise typer.Exit(run_reproduce(papers or [], profile, results, inline, out))


@app.command("benchmark")
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
    """Train the benchmark of fates, and score predictors on its frozen test seeds.

    The same command continues: finished sweeps are used as they are. Exit code: as for launch.

    Example: `seedbed benchmark lookup_a --predictor my_predictor.py`
    """
    from sweeps.command.forecasts.benchmarking import run_benchmark

    raise typer.Exit(run_benchmark(tasks or [], results, predictor, inline, as_json, out))


def main() -> None:
    """Entry point: a user's mistake is one clear message and exit code 2, never a traceback."""
    try:
        app()
    except (SpecError, StoreError) as error:
        err.print(str(error), style="red")
        sys.exit(BAD_INPUT)
    except CorruptFileError as error:
        err.print(str(error), style="red")
        sys.exit(FAILED)
    except OSError as error:
        # Disk errors are reported in one line; earlier commits stay valid.
        err.print(f"{error.filename or 'disk'}: {error.strerror or error}", style="red")
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
