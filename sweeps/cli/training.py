"""Subcommands that train sweeps and follow them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.imports import quick_imports
from pipeline.store.backends.objects import object_url
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from sweeps.cli.consoles import out
from sweeps.cli.options import (
    AcceptChangedCode,
    Address,
    Folder,
    FolderOrUrl,
    Inline,
    Overrides,
    Results,
    RetryFailed,
    Scores,
    Smoke,
    SpecPath,
)
from sweeps.command.how import How
from sweeps.command.terminal.phases import phases

training_commands = typer.Typer()
_PANEL = "Sweeps"


@training_commands.command(rich_help_panel=_PANEL)
def plan(
    spec: SpecPath,
    overrides: Overrides = None,
    results: Results = None,
    address: Address = None,
    inline: Inline = False,
    smoke: Smoke = False,
) -> None:
    """Show what a launch would do: runs, packs, what varies, memory, time, disk. Writes nothing.

    Example: `seedbed plan quickstart budget=2000`
    """
    from sweeps.command.planning import show_plan
    from sweeps.command.request import Request

    show_plan(Request(spec, tuple(overrides or ()), results, How(address, inline), smoke), out)


@training_commands.command(rich_help_panel=_PANEL)
def launch(
    spec: SpecPath,
    overrides: Overrides = None,
    results: Results = None,
    address: Address = None,
    inline: Inline = False,
    smoke: Smoke = False,
    accept_changed_code: AcceptChangedCode = False,
    scores: Scores = False,
    plan_only: Annotated[
        bool, typer.Option("--plan-only", help="Plan into the results folder, for `seedbed work`; train nothing.")
    ] = False,
) -> None:
    """Train every unfinished run of a sweep, through Ray Tune.

    Ctrl-C commits and prints how to resume; the same command continues. Exit code: 0 complete, 3 incomplete,
    1 failed or runs of it failed, 2 bad input.

    Example: `seedbed launch quickstart`
    """
    with phases(out, is_quiet=True) as phase, quick_imports():
        phase("loading")
        from sweeps.command.fleet.object_plans import plan_to_objects
        from sweeps.command.launching import run_launch, run_plan_only
        from sweeps.command.request import Request

    if plan_only and scores:
        raise StoreError("--scores has no effect with --plan-only, which trains nothing")
    given = tuple(overrides or ())
    request = Request(spec, given, results, How(address, inline, accept_changed_code), smoke)
    url = None if results is None else object_url(results)
    if url is not None and not plan_only:
        raise StoreError(f"{url}: a launch trains in a folder; give --plan-only, and train with: seedbed work {url}")
    if url is not None:
        code = plan_to_objects(request, url, out)
    else:
        code = run_plan_only(request, out) if plan_only else run_launch(request, out)
    if scores:
        from sweeps.command.analysing import run_analyse

        run_analyse([SweepStore(request.folder(request.spec()))], None, None, out, with_scores=True)
    raise typer.Exit(code)


@training_commands.command(rich_help_panel=_PANEL)
def resume(
    folder: Folder,
    address: Address = None,
    inline: Inline = False,
    accept_changed_code: AcceptChangedCode = False,
    retry_failed: RetryFailed = False,
) -> None:
    """Continue the sweep in a results folder from its newest commits.

    Runs that an error ended stay as they are, unless --retry-failed is given. Exit codes as for launch.

    Example: `seedbed resume results/quickstart`
    """
    with quick_imports():
        from sweeps.command.launching import run_resume

    raise typer.Exit(run_resume(SweepStore(folder), How(address, inline, accept_changed_code, retry_failed), out))


@training_commands.command("work", rich_help_panel=_PANEL)
def work_command(
    folder: FolderOrUrl,
    packs: Annotated[
        int | None, typer.Option("--packs", min=1, help="Leave after so many packs (default: when none is left).")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Stay while others work, to take over what they leave or lose.")
    ] = False,
) -> None:
    """Train packs of a planned results folder, beside any number of other workers on any machines that share it.

    SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGXCPU make it commit and leave. Exit codes as for launch.

    Example: `seedbed launch quickstart --plan-only && seedbed work results/quickstart`
    """
    with quick_imports():
        from sweeps.command.fleet.object_stores import sweep_at
        from sweeps.command.fleet.working import run_work

    with sweep_at(folder) as store:
        code = run_work(store, packs, wait, out)
    raise typer.Exit(code)


@training_commands.command("fetch", rich_help_panel=_PANEL)
def fetch_command(
    url: Annotated[Path, typer.Argument(help="A sweep on an object store, as s3://BUCKET/SWEEP.", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="Where to keep the copy.", show_default=False)],
) -> None:
    """Copy a sweep from an object store to a folder, where every command can read it.

    A later call copies only what is new. Every file of a pack is checked against the hash that its record names.

    Example: `seedbed fetch s3://bucket/quickstart results/quickstart`
    """
    from sweeps.command.fleet.object_stores import run_fetch

    raise typer.Exit(run_fetch(url, folder, out))


@training_commands.command(rich_help_panel=_PANEL)
def status(
    folder: FolderOrUrl,
    runs: Annotated[bool, typer.Option("--runs", help="Also print a line for every run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep showing it until the sweep is complete; Ctrl-C leaves.")
    ] = False,
) -> None:
    """Show the progress of a sweep: runs done, converged, diverged, in progress.

    It checks the checksums of commit records, and only that the files that they name exist: `seedbed verify` reads
    all. With --watch it shows what a launch shows, from the results folder alone, wherever the launch runs.

    Exit code: 0 complete, 3 incomplete, 1 runs failed or packs are damaged, which are named.

    Example: `seedbed status results/quickstart`
    """
    from sweeps.command.fleet.object_stores import sweep_at
    from sweeps.command.status import show_status

    if watch and (runs or as_json):
        raise StoreError("--watch shows a picture: leave out --runs and --json")
    if watch and object_url(folder) is not None:
        raise StoreError("--watch follows a folder: fetch the sweep first")
    with sweep_at(folder) as store:
        if watch:
            from sweeps.command.terminal.watching import watch_status

            watch_status(store, out)
        code = show_status(store, runs, as_json, out)
    raise typer.Exit(code)


@training_commands.command("verify", rich_help_panel=_PANEL)
def verify_command(
    folder: Folder,
    retrain: Annotated[int, typer.Option(help="Finished runs to train again and compare, drawn at random.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
) -> None:
    """Check every file of a sweep by its checksum, and a sample of its runs by training them again.

    Exit code: 0 nothing is wrong, 3 this machine cannot train some of the sample again, else 1.

    Example: `seedbed verify results/quickstart --retrain 5`
    """
    from sweeps.command.repairing import run_verify

    raise typer.Exit(run_verify(SweepStore(folder), retrain, seed, out))


@training_commands.command("repair", rich_help_panel=_PANEL)
def repair_command(
    folder: Folder,
    spec: Annotated[
        Path | None, typer.Option("--spec", help="Its sweep file, where its documents are lost.", show_default=False)
    ] = None,
    address: Address = None,
    inline: Inline = False,
) -> None:
    """Set damaged files aside and compute what is missing again, to the same bits.

    Exit codes as for launch.

    Example: `seedbed repair results/quickstart`
    """
    from sweeps.command.repairing import run_repair

    raise typer.Exit(run_repair(SweepStore(folder), spec, How(address, inline), out))


@training_commands.command("replay", rich_help_panel=_PANEL)
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

    Exit code: 0, or 3 where it was looked for in several sweeps of which some cannot be read.

    Example: `seedbed replay 3fa2 --from 900 --to 1300 --every 5 --probe induction_score --weights`
    """
    from sweeps.command.replaying import run_replay

    raise typer.Exit(run_replay(run, results, (first, last, every), tuple(probe or ()), weights, out))


@training_commands.command(rich_help_panel=_PANEL)
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
    sweeps: Annotated[
        list[str] | None,
        typer.Option("--sweeps", help="Train this sweep alone, with its parents (repeatable).", show_default=False),
    ] = None,
    inline: Inline = False,
) -> None:
    """Train the sweeps of papers, judge what the papers claim, and write a table and figures.

    The same command continues: finished sweeps are used as they are. Exit code: 0 all judged, 3 incomplete, else
    as for launch.

    Example: `seedbed reproduce huang_2024`
    """
    from sweeps.command.reproducing import run_reproduce

    raise typer.Exit(run_reproduce(papers or [], profile, results, inline, out, sweeps or []))
