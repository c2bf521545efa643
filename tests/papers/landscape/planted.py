"""Histories of the landscape's sweeps whose times are planted, and the verdicts on them."""

import numpy as np
from scipy.special import ndtri

from analysis.claims.claims import UNDECIDED
from analysis.claims.sweeps import JudgedSweep, Sweeps
from pipeline.store.history import History, RunEnd, RunInfo
from sweeps.landscape.claims import CLAIMS
from sweeps.landscape.study import (
    BY_MATRIX,
    CHOSEN,
    FIXED_MATRIX,
    GROUPS,
    SINGLE_MATRICES,
)

STEPS = np.arange(0, 5401, 50)
NAN = np.nan
G = len(GROUPS)
ALONE = {(g,): 0.2 for g in range(G)}
TOGETHER = {(0, 2, 4): 0.3, (1, 3, 5, 6): 0.3, (0, 6): 0.2, (2, 4): 0.2}


def history_of(pair, coefficients, noise=0.03, seed=0, groups=None):
    """Runs of every combination under two data streams, whose log times have these coefficients."""
    groups = groups or tuple(GROUPS.values())
    level_GC = np.array([[1 - 2 * (place >> g & 1) for place in range(2 ** len(groups))] for g in range(len(groups))])
    log_time_C = -np.sum([value * np.prod(level_GC[list(at)], axis=0) for at, value in coefficients.items()], axis=0)
    runs = []
    for place, level_G in enumerate(level_GC.T):
        drawn = {
            f"streams.init/{name}": pair.first if level > 0 else pair.second
            for level, names in zip(level_G, groups, strict=True)
            for name in names
        }
        drawn.setdefault(f"streams.init/{FIXED_MATRIX}", pair.first)
        runs += [RunInfo(f"r{place}-{seed}", f"s{place}", 0, seed, drawn) for seed in (100, 101)]
    normal_R = np.random.default_rng(seed).standard_normal(len(runs))
    return recorded(pair.name, runs, 1200 * np.exp(np.repeat(log_time_C, 2) + noise * normal_R))


def recorded(name, runs, time_R, budget=5400, chunk=50):
    steps = np.arange(0, budget + 1, chunk)
    accuracy = np.where(np.array(time_R)[:, None] <= steps, 1.0, 0.4)
    accuracy[:, 0] = NAN
    ends = tuple(RunEnd("budget", budget) for _ in runs)
    return History(name, budget, tuple(runs), ends, steps, {"label_accuracy": accuracy})


def judged_sweeps(*histories):
    return Sweeps({history.name: JudgedSweep(history, None, {"sweep_id": "abc"}) for history in histories})


def sweeps_of(coefficients, noise=0.03, pairs=CHOSEN):
    return judged_sweeps(*(history_of(pair, coefficients, noise, seed) for seed, pair in enumerate(pairs)))


def by_matrix(coefficients, noise=0.03):
    return judged_sweeps(history_of(BY_MATRIX, coefficients, noise, groups=tuple((name,) for name in SINGLE_MATRICES)))


def of_sizes(name, settings, time_of, budget, chunk, count=32):
    """Runs of these settings, whose times are `time_of` a setting and a quantile of the normal."""
    normal_S = ndtri((np.arange(count) + 0.5) / count)
    runs = [
        RunInfo(f"{name}-{number}-{seed}", f"s{number}", seed, seed, setting)
        for number, setting in enumerate(settings)
        for seed in range(count)
    ]
    times = [time_of(run.hyperparameters, normal_S[run.init_seed]) for run in runs]
    return recorded(name, runs, times, budget, chunk)


def widths_of(exponent, name="widths", widths=(8, 16, 32, 64), count=96):
    arms = [(width, 3e-3) for width in widths] + [(width, 3e-3 * 16 / width) for width in widths if width != 16]
    settings = [{"model.width": width, "optimiser.lr": rate} for width, rate in arms]
    return of_sizes(
        name,
        settings,
        lambda at, normal: 1200 * np.exp(0.5 * (at["model.width"] / 8) ** exponent * normal),
        5400,
        25,
        count=count,
    )


def rates_of(power, worst=np.inf, name="rates", rates=(5e-4, 1e-3, 2e-3, 5e-3, 2e-2, 5e-2), count=32):
    """Times fall as the rate, the more so the wider the head; at `worst` and above no run converges."""
    settings = [{"optimiser.lr": rate, "model.head_width": width} for width in (2, 4, 8) for rate in rates]

    def time_of(at, normal):
        half = 1.5e-3 * (at["model.head_width"] / 4) ** power
        is_late = at["optimiser.lr"] >= worst
        return 1e9 if is_late else 2700 * np.exp(0.3 * normal) * half / at["optimiser.lr"]

    return of_sizes(name, settings, time_of, 2800, 50, count)


def verdicts(sweeps, undecided=False):
    return {
        claim.name: claim.verdict
        for claim in CLAIMS.judged(sweeps)
        if undecided or claim.verdict != UNDECIDED or claim.evidence is not None
    }
