"""A first look at a sweep in a notebook: its runs as a table, its curves, and when runs converge.

marimo edit docs/notebook.py -- --results results/quickstart
"""

import marimo

app = marimo.App(width="medium")


@app.cell
def _():
    import marimo as mo

    from analysis.figures.plot import curves
    from analysis.tables.sweep import Sweep

    return Sweep, curves, mo


@app.cell
def _(Sweep, mo):
    folder = mo.cli_args().get("results") or "results/quickstart"
    sweep = Sweep(folder)
    sweep  # noqa: B018 - shown below the cell
    return (sweep,)


@app.cell
def _(sweep):
    runs = sweep.runs().to_pandas()
    by_setting = runs.groupby(["setting", "outcome"], observed=True)["outcome_by"].describe()
    by_setting  # noqa: B018
    return by_setting, runs


@app.cell
def _(curves, sweep):
    chart = curves(sweep.history(sweep.store.budgets[0]), "label_loss", by="outcome")
    chart  # noqa: B018
    return (chart,)


@app.cell
def _(sweep):
    early = sweep.to_pandas(["train_loss"])
    # Does the first training loss tell which runs converge?
    first = early.sort_values("step").groupby("run_id", observed=True).first()
    losses = first.groupby("outcome", observed=True)["train_loss"].mean()
    losses  # noqa: B018
    return early, losses


if __name__ == "__main__":
    app.run()
