"""Tables of the page on the landscape, from what is kept of its details."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from analysis.uncertainty.intervals import Estimate, short
from sweeps.landscape.matrix_figures import matrix_label

_NUM_LISTED = 10
_LARGEST_TWO = "embeddings and layer 2"


def _rows(rows: list[list[str]]) -> str:
    header, *rest = rows
    return "".join(f"| {' | '.join(row)} |\n" for row in [header, ["---"] * len(header), *rest])


def _text(estimate: list[float | None]) -> str:
    return Estimate(*(float("nan") if number is None else number for number in estimate)).text()


def pairs_table(part: dict[str, Any]) -> str:
    """A row for each factorial: parents, their times, shares of the orders, and combinations beyond both of them."""
    rows = [["parents", "factors", "times", "late runs", "returns", "order 1", "order 2", "3 and above", "beyond both"]]
    for found in part["log"].values():
        log_times = found["mean of first parent, second parent, fastest, median and slowest combination"]
        times = " and ".join(f"{math.exp(time):,.0f}" for time in log_times[:2])
        num_factors, first, second = len(found["main effects"]), *found["by order"][:2]
        faster, slower = found["combinations faster than both parents"], found["combinations slower than both parents"]
        late = f"{found['runs that did not converge']} of {found['runs']:,}"
        shares = (found["returning"], first, second, found["order 3 and above"])
        beyond = f"{faster} faster, {slower} slower"
        rows.append(["{} and {}".format(*found["parents"]), str(num_factors), times, late, *map(_text, shares), beyond])
    return _rows(rows)


def coefficients_table(part: dict[str, Any]) -> str:
    """The largest coefficients of the factorial of matrices, with their values under each data stream."""
    rows = [["set of matrices", "order", "coefficient in log time", "under each data stream"]]
    for found in part["largest coefficients"][:_NUM_LISTED]:
        names = ", ".join(matrix_label(name) for name in found["factors"])
        by_stream = " and ".join(short(value, 3) for value in found["by data stream"])
        rows.append([names, str(len(found["factors"])), short(found["value"], 3), by_stream])
    return _rows(rows)


def widths_table(part: dict[str, Any]) -> str:
    """The standard deviation of log time at each width, of both arms."""
    rows = [["learning rate", "width", "runs", "sd of log time", "did not converge"]]
    for arm, found in part.items():
        columns = ("widths", "runs", "standard deviations of log time", "runs that did not converge")
        for width, num_runs, spread, late in zip(*(found[column] for column in columns), strict=True):
            rows.append([arm, f"{width:g}", str(num_runs), _text(spread), str(late)])
    exponents = " and ".join(f"{_text(found['exponent'])} ({arm})" for arm, found in part.items())
    return f"{_rows(rows)}\nExponents of all of these seeds: {exponents}.\n"


def rates_table(part: dict[str, Any]) -> str:
    """The share that converges in time at each point, and the boundary of one half."""
    rows = [["width of a head", *(f"rate {rate:g}" for rate in part["rates"]), "half converge from", "to"]]
    for width, shares in part["share that converged in time, by head width"].items():
        bounds = (part[f"{side} boundary"][width] for side in ("lower", "upper"))
        shown = ["none" if value is None else f"{value:.2g} ({low:.2g}-{high:.2g})" for value, low, high in bounds]
        rows.append([width, *(short(share[0]) for share in shares), *shown])
    ratio = _text(part["lower boundary of heads of width 2 over that of width 8"])
    told = f"By all of these runs, heads of width 2 need {ratio} times the rate of heads of width 8 (exploratory)."
    return f"{_rows(rows)}\n{told} {_saved(part)}\n"


def _saved(part: dict[str, Any]) -> str:
    """How much narrower the boundaries are than those of the grid alone, and at which cost beside a full grid."""
    ratios = [
        math.log(high / low) / math.log(wide_high / wide_low)
        for side in ("lower", "upper")
        for (_, low, high), (_, wide_low, wide_high) in zip(
            part[f"{side} boundary"].values(), part[f"{side} boundary by the grid alone"].values(), strict=True
        )
        if None not in (low, wide_low) and (low, high) != (wide_low, wide_high)
    ]
    on_grid, about = part["runs"]["on the grid"], part["runs"]["about its boundaries"]
    if not ratios:
        return f"{on_grid:,} runs on the grid."
    ratio = math.exp(sum(map(math.log, ratios)) / len(ratios))
    return (
        f"With {about:,} runs about them, {len(ratios)} boundaries have intervals {short(ratio)} times as wide as by "
        f"the {on_grid:,} runs of the grid alone (geometric mean). The full grid would need {on_grid / ratio**2:,.0f} "
        f"runs for that, if intervals fall as the root of the number of seeds; these are {on_grid + about:,}."
    )


def commits_table(part: dict[str, Any]) -> str:
    """A row for each parent: its time, the share of its forks in time by step, and when it commits."""
    steps = [f"step {step}" for step in part["steps"]]
    rows = [["parent", "own time", *steps, "committed from"]]
    for number, found in enumerate(part["parents"], start=1):
        step, low, high = found["committed from"]
        ends = ["later" if end is None else f"{end:,.0f}" for end in (step, low, high)]
        shares = [short(share) for share in found["share in time"]]
        rows.append([str(number), f"{found['time']:,.0f}", *shares, f"{ends[0]} ({ends[1]} to {ends[2]})"])
    return _rows(rows)


def all_commits_table(part: dict[str, Any]) -> str:
    """A row for each step: the share of all parents that is committed by then, and the variance that states fix."""
    rows = [["step", "committed from it or before", "variance of log time that the state fixes"]]
    shares = (part["committed from this step or before"], part["variance fixed by the state"])
    rows += [[str(step), _text(one), _text(other)] for step, one, other in zip(part["steps"], *shares, strict=True)]
    sentence = f"{part['parents']} parents, {part['forks of each parent at a step']} forks of each at a step.\n"
    return f"{_rows(rows)}\n{sentence}"


def exchanges_table(part: list[dict[str, Any]]) -> str:
    """A row for each step: what returns, each part alone, two and more together, and how slow mixtures are."""
    names = list(part[0]["main effects"])
    header = ["step", "returns", *names, "two together", "of these " + _LARGEST_TWO, "three or four"]
    rows = [[*header, "mixtures / unmixed", "slower than both"]]
    for found in part:
        shares = [found["returns"], *(found["main effects"][name] for name in names)]
        shares += [found["order 2"], found["interactions of two"][_LARGEST_TWO], found["order 3 and 4"]]
        shares.append(found["time of mixtures / of unmixed runs"])
        rows.append([str(found["step"]), *map(_text, shares), _text(found["mixtures slower than both"])])
    return _rows(rows)


def settings_table(part: dict[str, Any]) -> str:
    """A row for each setting: its parents and times, and the shares of the claims."""
    shares = list(next(iter(part.values()))["shares"])
    rows = [["setting", "pairs", "factors", "times", "late runs", *shares]]
    for label, found in part.items():
        times = "{:,.0f}, {:,.0f}, {:,.0f}".format(*found["fastest, median and slowest"])
        late = f"{found['runs that did not converge']} of {found['runs']:,}"
        means = [_text(found["shares"][which]) for which in shares]
        rows.append([label, str(found["pairs"]), str(found["factors"]), times, late, *means])
    return _rows(rows)


def designs_table(part: list[dict[str, Any]]) -> str:
    """A row for each number of groups: what limits the mean share of order 1, and the runs that it takes."""
    rows = [["groups", "runs of a pair", "order 1", "sd over pairs", "standard error of a pair", "pairs", "runs"]]
    for found in part:
        sizes = [f"{found[name]:,.0f}" for name in ("groups", "runs of a pair", "pairs for +-0.1", "runs for +-0.1")]
        shares = [
            short(found[name]) for name in ("order 1", "standard deviation over pairs", "standard error of a pair")
        ]
        rows.append([*sizes[:2], *shares, *sizes[2:]])
    return _rows(rows)


def epsilons_table(part: dict[str, Any]) -> str:
    """A row for each eps: the share of rare features with each phase; and where the first one is midway."""
    rows = [["eps", *part["phases"]]]
    rows += [[eps, *map(_text, shares)] for eps, shares in part["shares by eps"].items()]
    middle, low, high = (f"{10**end:.1e}" for end in part["midway, common logarithm of eps"])
    sentence = (
        f"The share of features with the first phase is midway between its ends at eps {middle} ({low} to {high})."
    )
    return f"{_rows(rows)}\n{sentence}\n"


def hours_table(hours: Mapping[str, Mapping[str, float]]) -> str:
    """A row for each sweep file: runs, their steps and processor time, and those of the full profile; then together."""
    names = ("runs", "run-steps", "hours", "planned runs", "planned hours")
    total = {name: sum(found[name] for found in hours.values()) for name in names}
    rows = [["file in `sweeps/`", "trained runs", "run-steps, millions", "minutes", "full profile, runs", "minutes"]]
    for file, found in (*hours.items(), ("together", total)):
        label = file if file == "together" else f"`{file}`"
        minutes, planned = (f"{60 * found[name]:,.1f}" for name in ("hours", "planned hours"))
        trained = [f"{found['runs']:,.0f}", f"{found['run-steps'] / 1e6:,.2f}", minutes]
        rows.append([label, *trained, f"{found['planned runs']:,.0f}", planned])
    return _rows(rows) + _of_all_fates(hours)


def _of_all_fates(hours: Mapping[str, Mapping[str, float]]) -> str:
    """What a map of fates of 256 parents would take, from the mean of the forks that were trained."""
    forks = hours.get("landscape/fates/forks.yaml")
    if forks is None:
        return ""
    num = 256 * 16 * 20
    hours_of_all = num * forks["hours"] / forks["runs"]
    return (
        f"\nFates of 256 parents, 20 forks of each at 16 steps, would be {num:,} forks and {hours_of_all:.1f} hours.\n"
    )


# Part of the page -> what of the details it is made of, and how.
TABLES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "pairs": ("factorials", pairs_table),
    "coefficients": ("matrices", coefficients_table),
    "widths": ("widths", widths_table),
    "rates": ("rates", rates_table),
    "commits": ("fates", commits_table),
    "all commits": ("all fates", all_commits_table),
    "exchanges": ("exchanges", exchanges_table),
    "settings": ("settings", settings_table),
    "designs": ("designs", designs_table),
    "epsilons": ("adam_epsilon", epsilons_table),
}
