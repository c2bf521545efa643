"""Subcommands that compare settings and search among them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli.consoles import out
from sweeps.cli.options import AcceptChangedCode, Address, Inline, OneBudget, OneCriterion, Overrides, Results, SpecPath
from sweeps.command.how import How

setting_commands = typer.Typer()
_PANEL = "Settings"


@setting_commands.command("compare", rich_help_panel=_PANEL)
def compare_command(
    folders: Annotated[list[Path], typer.Argument(help="Two results folders, or one.", show_default=False)],
    arms: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--arms", help="Two settings of one sweep, such as lr=1e-3 lr=3e-3; commas join values.", show_default=False
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="Only runs with this value, such as width=16 (repeatable).", show_default=False),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="converged, time, or a metric whose last values are compared (repeatable).", show_default=False
        ),
    ] = None,
    effect: Annotated[
        list[str] | None,
        typer.Option(
            help="The smallest effect to find, with 80% power, such as converged=0.1 (repeatable).", show_default=False
        ),
    ] = None,
    budget: OneBudget = None,
    criterion: OneCriterion = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two sweeps, or two settings of one, pair by pair under the same seeds.

    Effects are b minus a, in converged share, time to convergence and final loss, each with an interval for a number
    of seeds that was fixed beforehand, and one that is valid however often one looks.

    Example: `seedbed compare results/quickstart --arms head_width=4 head_width=3`
    """
    from sweeps.command.settings.comparing import run_compare

    run_compare(folders, arms, where or [], metric or [], effect or [], budget, as_json, out, criterion)


@setting_commands.command("search", rich_help_panel=_PANEL)
def search_command(
    spec: SpecPath,
    overrides: Overrides = None,
    results: Results = None,
    address: Address = None,
    inline: Inline = False,
    accept_changed_code: AcceptChangedCode = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Search the settings of a sweep file's `search` section, in rounds, with a searcher of Ray Tune such as Optuna.

    All rounds are one sweep, which grows; the same command continues. Exit codes as for launch.

    Example: `seedbed search my_search.yaml`
    """
    from sweeps.command.settings.searching import run_search

    how = How(address, inline, accept_changed_code)
    raise typer.Exit(run_search(spec, overrides or [], results, how, as_json, out))
