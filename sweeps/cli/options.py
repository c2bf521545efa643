"""Arguments and options that several subcommands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SpecPath = Annotated[
    Path, typer.Argument(help="A sweep file, or the name of one of `seedbed list`.", show_default=False)
]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Values put in place of the file's, as field=value.", show_default=False)
]
Results = Annotated[
    Path | None, typer.Option("--results", help="The results folder (default: under results/).", show_default=False)
]
Folder = Annotated[Path, typer.Argument(help="A results folder.", show_default=False)]
FolderOrUrl = Annotated[
    Path,
    typer.Argument(help="A results folder, or a sweep on an object store, as s3://BUCKET/SWEEP.", show_default=False),
]
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
OneBudget = Annotated[
    int | None,
    typer.Option(
        "--budget", help="In a sweep of several budgets, the runs whose budget is this, in steps.", show_default=False
    ),
]
OneCriterion = Annotated[
    str | None,
    typer.Option(
        "--criterion",
        help="Outcomes by one of the sweep's `criteria`, or by a threshold, as 'train_loss<=0.1' (default: its own).",
        show_default=False,
    ),
]
Address = Annotated[
    str | None, typer.Option(help="An existing Ray cluster, `auto` or HOST:PORT; its nodes share the results folder.")
]
Inline = Annotated[bool, typer.Option("--inline", help="Train in this process, without Ray.")]
ForkCost = Annotated[float, typer.Option(help="Examples that a fork trains on, as a share of a whole run's.")]
RateFactor = Annotated[float, typer.Option(help="Learning rate of a fork, as a multiple of its run's.")]
BatchFactor = Annotated[
    float | None,
    typer.Option(
        help="Batch size of a fork, as a multiple of its run's (default: 1/4 where possible).", show_default=False
    ),
]
DataSeed = Annotated[
    int | None,
    typer.Option(
        "--data-seed", help="One data stream for all forks (default: each its run's own).", show_default=False
    ),
]
AheadReadings = Annotated[
    str | None,
    typer.Option("--readings", help="Readings of the forks, joined by commas (default: circuits).", show_default=False),
]
AcceptChangedCode = Annotated[
    bool,
    typer.Option("--accept-changed-code", help="Go on with runs that other code began; they are marked."),
]
RetryFailed = Annotated[
    bool,
    typer.Option("--retry-failed", help="Try runs again that an error ended, from their last states."),
]
Smoke = Annotated[bool, typer.Option("--smoke", help="A short test run: a few seeds and chunks only.")]
Scores = Annotated[bool, typer.Option("--scores", help="Also print the scores of every predictor at every window.")]
