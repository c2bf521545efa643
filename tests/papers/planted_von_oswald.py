"""Sweeps in which everything that is claimed of von Oswald et al. (2023) is planted: steps, shifts, plateaus, grokking.

Most recorded steps lie before what a run learns, so that exchanged steps take away what it has at the end.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.claims.sweeps import JudgedSweep, Sweeps
from pipeline.store.history import History, RunEnd, RunInfo

NAN = np.nan
ZERO, STEP, PLUS, ETA = 0.41667, 0.20623, 0.109, 6.0606
SETTING = {"task.num_pairs": 10, "task.dim": 10, "task.input_range": 0.5, "batch_size": 2048}
SHIFTS = (
    *(f"inputs/{size}" for size in ("0.5", "1", "1.5", "2")),
    *(f"teachers/{size}" for size in ("0.5", "1", "2", "5")),
    *(f"{family}/{norm}" for family in ("exponential", "normal", "laplace") for norm in (1, 3)),
    *(f"noisy/{count}" for count in (2, 4, 6, 8)),
)
LENGTHS = tuple(f"pairs/{num_pairs}" for num_pairs in (5, 10, 20, 40))
LAYERS = ("two_layers_tied", "two_layers_untied", "five_layers_tied", "five_layers_untied")


def sigmoid(x):
    return 1 / (1 + np.exp(-np.clip(x, -50, 50)))


def runs_of(num_seeds, **hyperparameters):
    label = "-".join(str(value) for value in hyperparameters.values())
    changed = {path.replace("__", "."): value for path, value in hyperparameters.items()}
    return [RunInfo(f"{label}-{s}", label or "s", s, s, SETTING | changed) for s in range(num_seeds)]


def sweep_of(name, runs, steps, values):
    budget = int(steps[-1])
    ends = tuple(RunEnd("budget", budget) for _ in runs)
    history = History(f"von_oswald_2023_{name}", budget, tuple(runs), ends, steps, values)
    return JudgedSweep(history, provenance={"sweep_id": "abc", "git_commit": "0123"})


def changed(sweep, **metrics):
    """The sweep with a function of each named metric's values in their place; "__" in a name stands for "/"."""
    history = sweep.history
    values = dict(history.values)
    for name, change in metrics.items():
        metric = name.replace("__", "/")
        values[metric] = np.array(change(values[metric].copy()))
    return replace(sweep, history=replace(history, values=values))


def scaled(factor):
    return lambda values_RT: factor * values_RT


class Curves:
    """What is drawn for the runs of one sweep: `after_RT` goes from 0 to 1 at each run's jump."""

    def __init__(self, runs, steps, jump_R, width=100.0, seed=0):
        self.runs, self.steps, self.jump_R1 = runs, steps, np.asarray(jump_R, float).reshape(-1, 1)
        self.rng = np.random.default_rng(seed)
        self.after_RT = sigmoid((steps - self.jump_R1) / width)

    def noise(self, size):
        return size * self.rng.normal(size=self.after_RT.shape)

    def of_runs(self, size):
        """Noise that is one number per run, as of a measurement on contexts of its own."""
        return np.broadcast_to(size * self.rng.normal(size=self.jump_R1.shape), self.after_RT.shape)

    def labels(self, last_R=0.003, step=STEP, zero=ZERO):
        """Losses and excess on labels, from that of zero to one of `last_R`."""
        excess_RT = 1 - (1 - np.reshape(last_R, (-1, 1))) * self.after_RT + np.abs(self.noise(0.001))
        reference_RT = step * (1 + self.noise(0.01))
        loss_RT = reference_RT + (zero - step) * excess_RT
        named = {"label_excess": excess_RT, "label_loss": loss_RT, "label_reference_loss": reference_RT}
        return {name: np.where(self.steps > 0, values_RT, NAN) for name, values_RT in named.items()}

    def likeness(self):
        """How the model compares with the step, by the probes of the task."""
        return {
            "gd_alignment": 0.998 * self.after_RT - np.abs(self.noise(0.001)),
            "gd_model_difference": 2 * (1 - 0.99 * self.after_RT),
            "gd_prediction_difference": 0.4 * (1 - 0.99 * self.after_RT),
        }

    def losses(self, theirs, level, name="trained_loss", suffix=""):
        """A loss that becomes that of `theirs` when the run learns."""
        best_RT = level * (1 + self.of_runs(0.01))
        ours_RT = best_RT * (1.002 + np.abs(self.noise(0.002)) + 3 * (1 - self.after_RT))
        return {f"{name}{suffix}": ours_RT, f"{theirs}{suffix}": best_RT}


def one_layer(num_seeds=16, seed=1):
    rng = np.random.default_rng(seed)
    runs, steps = runs_of(num_seeds), np.arange(0, 5001, 250)
    curves = Curves(runs, steps, rng.uniform(3000, 4000, num_seeds), seed=seed)
    values = curves.labels() | curves.likeness() | curves.losses("gd_loss", STEP)
    values["interpolated_loss"] = values["gd_loss"] * (1.001 + 0.5 * (1 - curves.after_RT))
    values["line_search_step_size"] = ETA * (1 + curves.of_runs(0.003))
    values["trained_step_size"] = ETA * curves.after_RT * (1 + curves.noise(0.003))
    values["construction_difference"] = np.abs(3e-7 + curves.of_runs(3e-8))
    for k, shift in enumerate((*SHIFTS, *LENGTHS)):
        values |= curves.losses("gd_loss", 0.1 * (k + 1), suffix=f"/{shift}")
        values[f"interpolated_loss/{shift}"] = values[f"gd_loss/{shift}"] * 1.001
    for times, level in zip((1, 2, 5, 10, 20, 50), (0.22, 0.19, 0.14, 0.1, 0.07, 0.043), strict=True):
        values |= curves.losses("rolled_gd_loss", level, "rolled_trained_loss", f"/{times}")
    return sweep_of("one_layer", runs, steps, values)


def context_lengths(num_seeds=8, seed=2):
    rng = np.random.default_rng(seed)
    closed = {25: 0.1173, 50: 0.0683, 100: 0.0372}
    runs = [run for num_pairs in closed for run in runs_of(num_seeds, task__num_pairs=num_pairs)]
    curves = Curves(runs, np.arange(0, 5001, 250), rng.uniform(3000, 4000, len(runs)), seed=seed)
    step_R1 = np.repeat([*closed.values()], num_seeds)[:, None]
    return sweep_of("context_lengths", runs, curves.steps, curves.labels(step=step_R1) | curves.likeness())


def several_layers(name, num_seeds=10, seed=3):
    rng = np.random.default_rng(seed)
    runs, steps = runs_of(num_seeds), np.arange(0, 5001, 250)
    curves = Curves(runs, steps, rng.uniform(3000, 4000, num_seeds), seed=seed)
    values = curves.labels() | curves.losses("plus_loss", PLUS)
    values["gd_loss"] = 0.156 * (1 + curves.of_runs(0.01))
    values["plus_cosine"] = 0.995 * curves.after_RT
    values["steps_cosine"] = 0.95 * curves.after_RT
    for k, shift in enumerate(SHIFTS):
        values |= curves.losses("plus_loss", 0.1 * (k + 1), suffix=f"/{shift}")
        values[f"gd_loss/{shift}"] = values[f"plus_loss/{shift}"] * 1.4
    if not name.endswith("untied"):
        values["trained_curvature"] = 0.177 * curves.after_RT * (1 + curves.noise(0.003))
        values["plus_curvature"] = np.full(curves.after_RT.shape, 0.177)
    return sweep_of(name, runs, steps, values)


def heads(num_seeds=60, share_long=0.2, width_of_long=100.0, late_with_two=False, share_long_with_two=0.0, seed=4):
    """With one head a share leaves the plateau late; with two a share of the other seeds, and all leave it earlier."""
    rng = np.random.default_rng(seed)
    runs = [run for count in (1, 2) for run in runs_of(num_seeds, model__num_heads=count)]
    is_long_S = np.arange(num_seeds) < share_long * num_seeds
    one_S = np.where(is_long_S, 3500.0, 1000.0) * np.exp(0.05 * rng.normal(size=num_seeds))
    two_S = one_S if late_with_two else 700 * np.exp(0.05 * rng.normal(size=num_seeds))
    two_S = np.where(np.arange(num_seeds)[::-1] < share_long_with_two * num_seeds, 3500.0, two_S)
    width_R1 = np.where(np.append(is_long_S, is_long_S), width_of_long, 50.0)[:, None]
    curves = Curves(runs, np.arange(0, 5001, 25), np.append(one_S, two_S), width_R1, seed)
    return sweep_of("heads", runs, curves.steps, curves.labels())


def fixed_tasks(num_seeds=16, seed=5):
    rng = np.random.default_rng(seed)
    last = {1: 1.8, 4: 0.8, 16: 0.2, 64: 0.02}
    runs = [run for count in last for run in runs_of(num_seeds, task__num_batches=count, batch_size=128)]
    last_R = np.repeat([*last.values()], num_seeds)
    curves = Curves(runs, np.arange(0, 10001, 250), rng.uniform(7000, 8000, len(runs)), seed=seed)
    return sweep_of("fixed_tasks", runs, curves.steps, curves.labels(last_R))


def mlp_block(num_seeds=10, lag=3.0, seed=6):
    """Losses on new tasks fall `lag` times as late as those on the training tasks."""
    rng = np.random.default_rng(seed)
    runs, steps = runs_of(num_seeds, task__num_batches=64, batch_size=128), np.arange(0, 10001, 200)
    learned_R = rng.uniform(1800, 2200, num_seeds)
    curves = Curves(runs, steps, lag * learned_R, seed=seed)
    seen = Curves(runs, steps, learned_R, seed=seed)
    seen_RT = ZERO - (ZERO - 0.15) * seen.after_RT + np.abs(seen.noise(0.002))
    train_RT = np.where((steps == 0) | (steps % 400 != 0), NAN, seen_RT)
    return sweep_of("mlp_block", runs, steps, curves.labels() | {"train_loss": train_RT})


def softmax(num_seeds=16, seed=7):
    rng = np.random.default_rng(seed)
    runs = [run for count in (1, 2) for run in runs_of(num_seeds, model__num_heads=count)]
    curves = Curves(runs, np.arange(0, 10001, 250), rng.uniform(7000, 8000, len(runs)), seed=seed)
    has_two_R1 = np.repeat([False, True], num_seeds)[:, None]
    alignment_RT = np.where(has_two_R1, 0.985, 0.6) * curves.after_RT
    labels = curves.labels(np.where(has_two_R1, 0.04, 0.5))
    return sweep_of("softmax", runs, curves.steps, labels | {"gd_alignment": alignment_RT})


def separate_tokens(num_seeds=40, num_stuck=4, lead=1500, width=150.0, seed=8):
    """Runs that jump at times of their own, `lead` steps after the first layer attends to the next token."""
    rng = np.random.default_rng(seed)
    runs, steps = runs_of(num_seeds), np.arange(0, 20001, 200)
    jump_R = np.where(np.arange(num_seeds) < num_stuck, 1e9, rng.uniform(3000, 18500, num_seeds))
    curves = Curves(runs, steps, jump_R, width, seed)
    looked_RT = sigmoid((steps - curves.jump_R1 + lead) / 150)
    values = curves.labels() | {
        "own_token_sensitivity": 1 + curves.noise(0.01),
        "next_token_sensitivity": np.where(steps % 400 == 0, 0.02 + looked_RT + np.abs(curves.noise(0.005)), NAN),
        "other_token_sensitivity": 0.1 + curves.noise(0.01),
    }
    return sweep_of("separate_tokens", runs, steps, values)


def sine(num_seeds=8, seed=9):
    rng = np.random.default_rng(seed)
    kinds = ("trained", "gradient_step")
    runs = [run for kind in kinds for run in runs_of(num_seeds, model__attention=kind)]
    curves = Curves(runs, np.arange(0, 10001, 500), rng.uniform(7000, 8000, len(runs)), seed=seed)
    excess_RT = 1 - 0.97 * curves.after_RT + np.abs(curves.noise(0.002))
    labels = {"label_excess": excess_RT, "label_loss": 0.02 * excess_RT}
    labels = {name: np.where(curves.steps > 0, values_RT, NAN) for name, values_RT in labels.items()}
    return sweep_of("sine", runs, curves.steps, labels)


def everything():
    """All sweeps of the paper."""
    return Sweeps(
        {
            "one_layer": one_layer(),
            "text_inputs": one_layer(8, seed=11),
            "context_lengths": context_lengths(),
            **{name: several_layers(name) for name in LAYERS},
            "heads": heads(),
            "fixed_tasks": fixed_tasks(),
            "mlp_block": mlp_block(),
            "softmax": softmax(),
            "separate_tokens": separate_tokens(),
            "sine": sine(),
        }
    )
