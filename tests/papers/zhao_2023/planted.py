"""Sweeps in which everything that is claimed of Zhao (2023) is planted: jumps, heads, maps, early signs, fates."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np

from analysis.claims.sweeps import JudgedSweep, Sweeps
from pipeline.store.history import History, RunEnd, RunInfo
from sweeps.zhao_2023.claims import CLAIMS
from sweeps.zhao_2023.failing import NARROW_HEADS, SMALL_MODEL, WIDE_ENOUGH

NAN = np.nan
LENGTH, ITEMS = 9, 4
MAP_STEPS = (0, 200, 300, 400, 500, 600, 800, 1000, 2700)


def judge(name, **sweeps):
    """One claim, on these sweeps alone."""
    return CLAIMS.judged_claim(name, Sweeps(sweeps))


def sigmoid(x):
    return 1 / (1 + np.exp(-np.clip(x, -50, 50)))


def log_jumps(num_runs, rng, spread=0.3):
    """Steps of jumps, about half of them before the mixed budget."""
    return 950 * np.exp(spread * rng.normal(size=num_runs))


def seeds_of(num_runs, first=0):
    return [RunInfo(f"r{first + r}", "s", first + r, first + r, {}) for r in range(num_runs)]


def planted_history(name, runs, jump_R, budget=2700, seed=0, sign_at_init=0.0, every=50):
    """Runs that jump at `jump_R`, NaN for never; the heads form before that, and a score shows early who is late."""
    rng = np.random.default_rng(seed)
    steps = np.arange(0, budget + 1, every)
    jump_R1 = np.where(np.isnan(jump_R), 1e9, jump_R)[:, None]
    late_R1 = np.log(np.minimum(jump_R1, 4000) / 1000)
    noise = lambda size: size * rng.normal(size=(len(runs), len(steps)))  # noqa: E731
    after = sigmoid((steps - jump_R1) / 20)
    excess = np.abs((0.95 + 0.8 * np.exp(-steps / 60)) * (1 - after) + noise(0.004))
    accuracy = np.where(after > 0.98, 1.0, np.floor(512 * (0.44 + 0.5 * after + noise(0.004))) / 512)
    early = np.minimum(steps / 300, 1)
    previous = 0.2 - 0.15 * early * late_R1 + 0.75 * sigmoid((steps - jump_R1 + 300) / 30) + noise(0.02)
    values = {
        "label_excess": np.where(steps > 0, excess, NAN),
        "label_accuracy": np.where(steps > 0, accuracy, NAN),
        "previous_token_score.l0h0": previous - sign_at_init * late_R1,
        "induction_score.l1h0": 0.12 + 0.85 * sigmoid((steps - jump_R1 + 120) / 30) + noise(0.02),
        "probe_loss": 1.24 * excess + noise(0.05),
    }
    return History(name, budget, tuple(runs), tuple(RunEnd("budget", budget) for _ in runs), steps, values)


class Elsewhere:
    """Maps in which, from values, some runs look at the first token of all."""

    def __init__(self, maps, is_elsewhere):
        self.maps, self.is_elsewhere, self.of = maps, is_elsewhere, maps.of

    def read(self, run_id, step, kind="state"):
        arrays = self.maps.read(run_id, step, kind)
        if self.is_elsewhere(run_id):
            arrays["layer0"][..., 3::2, :] = 0
            arrays["layer0"][..., 3::2, 0] = 1
        return arrays


class PlantedMaps:
    """After its jump a value looks one back, a last query at the fourth key; all else, and before, as a run likes."""

    def __init__(self, runs, jump_R):
        self.jump = {run.run_id: jump for run, jump in zip(runs, jump_R, strict=True)}

    def of(self, run_id, kind="state"):
        return dict.fromkeys(MAP_STEPS) if kind == "attention" else {}

    def read(self, run_id, step, kind="state"):
        rng = np.random.default_rng(zlib.crc32(f"{run_id}/{step}".encode()))
        scores = rng.normal(size=(2, 1, 1, LENGTH, LENGTH)) + 0.1 * rng.normal(size=(2, ITEMS, 1, LENGTH, LENGTH))
        if step > self.jump[run_id]:
            values = np.arange(1, LENGTH, 2)
            scores[0, ..., values, values - 1] += 8
            scores[1, ..., -1, 3] += 5
        weight = np.exp(scores) * np.tril(np.ones((LENGTH, LENGTH)))
        maps = weight / weight.sum(axis=-1, keepdims=True)
        return {"layer0": maps[0], "layer1": maps[1]}


def setting_a(num_converged=100, num_stuck=12, seed=0, **changes):
    jump_R = np.append(log_jumps(num_converged, np.random.default_rng(seed)), np.full(num_stuck, NAN))
    runs = seeds_of(len(jump_R))
    history = planted_history("zhao_2023_setting_a", runs, jump_R, seed=seed, **changes)
    return JudgedSweep(history, PlantedMaps(runs, jump_R), {"sweep_id": "abc", "git_commit": "0123"})


def plain(name, num_converged, num_stuck=0, seed=1, with_maps=False, **changes):
    jump_R = np.append(log_jumps(num_converged, np.random.default_rng(seed)), np.full(num_stuck, NAN))
    runs = seeds_of(len(jump_R), 5000)
    maps = PlantedMaps(runs, jump_R) if with_maps else None
    return JudgedSweep(planted_history(f"zhao_2023_{name}", runs, jump_R, seed=seed, **changes), maps)


def models(num_seeds=12, stuck=2):
    """Three models under the same seeds, which look one back from values once they have jumped; a few never do."""
    widths = [(16, 4), (16, 8), (24, 4)]
    runs = [
        replace(
            run,
            run_id=f"{width}-{head}-{run.run_id}",
            setting_id=f"m{width}-{head}",
            hyperparameters={"model.width": width, "model.head_width": head},
        )
        for width, head in widths
        for run in seeds_of(num_seeds, 6000)
    ]
    jump_R = np.tile(np.append(np.full(num_seeds - stuck, 900.0), np.full(stuck, NAN)), len(widths))
    history = planted_history("zhao_2023_models", runs, jump_R, every=100)
    return JudgedSweep(replace(history, varied=("model.width", "model.head_width")), PlantedMaps(runs, jump_R))


def depths(num_seeds=12, stuck=2, looks_back=lambda depth: 0):
    """Models of two, three and four layers, of which one looks back; the last one finds values, others do anything."""
    runs = [
        replace(
            run, run_id=f"{depth}-{run.run_id}", setting_id=f"d{depth}", hyperparameters={"model.num_layers": depth}
        )
        for depth in (2, 3, 4)
        for run in seeds_of(num_seeds, 6500)
    ]
    jump_R = np.tile(np.append(np.full(num_seeds - stuck, 900.0), np.full(stuck, NAN)), 3)
    history = planted_history("zhao_2023_depths", runs, jump_R, every=100)
    maps = DeeperMaps(PlantedMaps(runs, jump_R), looks_back)
    return JudgedSweep(replace(history, varied=("model.num_layers",)), maps)


class DeeperMaps:
    """Planted maps with layers between, which look at the first token or at themselves; the depth begins a run's id."""

    def __init__(self, maps, looks_back):
        self.maps, self.looks_back, self.of = maps, looks_back, maps.of

    def read(self, run_id, step, kind="state"):
        planted = self.maps.read(run_id, step, kind)
        depth, first = int(run_id[0]), np.zeros((LENGTH, LENGTH))
        first[:, 0] = 1
        idle = np.broadcast_to(first if zlib.crc32(run_id.encode()) % 2 else np.eye(LENGTH), planted["layer0"].shape)
        layers = [idle] * (depth - 1) + [planted["layer1"]]
        layers[self.looks_back(depth)] = planted["layer0"]
        return {f"layer{n}": layer for n, layer in enumerate(layers)}


def one_layer(num_converged, seed=1):
    """One layer whose last query looks at the fourth key."""
    found = plain("pair_tokens", num_converged, seed=seed, with_maps=True)
    return JudgedSweep(found.history, SecondLayer(found.snapshots))


class SecondLayer:
    """The second layer of planted maps as if it were the only one."""

    def __init__(self, snapshots):
        self.snapshots, self.of = snapshots, snapshots.of

    def read(self, run_id, step, kind="state"):
        return {"layer0": self.snapshots.read(run_id, step, kind)["layer1"]}


def crossed(num_init=16, num_data=10, of_init=0.3, of_data=0.0, of_slowest=0.0, seed=2):
    """Init seeds, and if wanted data seeds or one init seed more, shift the jump; what is left is of both together."""
    rng = np.random.default_rng(seed)
    runs = [RunInfo(f"c{i}-{j}", "s", i, 100 + j, {}) for i in range(num_init) for j in range(num_data)]
    shift_IJ = of_init * rng.normal(size=(num_init, 1)) + of_data * rng.normal(size=(1, num_data))
    shift_IJ[0] += of_slowest
    jump_R = 950 * np.exp((shift_IJ + 0.05 * rng.normal(size=(num_init, num_data))).ravel())
    return JudgedSweep(planted_history("zhao_2023_crossed", runs, jump_R, every=100))


def head_widths(num_seeds=20, stuck=0.3, seed=3):
    """Wider heads are earlier; of width 2 and 4, a share jumps after 2700 steps, two runs never."""
    rng = np.random.default_rng(seed)
    runs, jumps = [], []
    for width in (2, 3, 4, 8, 16):
        for s in range(num_seeds):
            runs.append(RunInfo(f"w{width}-{s}", f"s{width}", s, s, {"model.head_width": width}))
            jumps.append(2500 * width**-0.5 * np.exp(0.2 * rng.normal()))
            if width in (2, 4) and s < stuck * num_seeds:
                jumps[-1] = 5000 if s else NAN
    return JudgedSweep(planted_history("zhao_2023_head_widths", runs, np.array(jumps), budget=9000, every=100))


def forked(fixed_at=300, num_parents=24):
    """Parents, and forks that are theirs from `fixed_at` on and anybody's before."""
    jump_R = np.where(np.arange(num_parents) % 2, 700.0, 1900.0)
    return parents_and_forks(("fork_parents", "forks"), seeds_of(num_parents, 700), jump_R, fixed_at)


def failing(fixed_at=300, num_parents=16):
    """The same in three settings, where every other parent never jumps, and the others do late."""
    parents = [
        replace(run, run_id=f"{n}-{run.run_id}", setting_id=f"s{n}", hyperparameters=setting.hyperparameters)
        for n, setting in enumerate((WIDE_ENOUGH, NARROW_HEADS, SMALL_MODEL))
        for run in seeds_of(num_parents, 800)
    ]
    jump_R = np.where(np.arange(len(parents)) % 2, 1900.0, NAN)
    return parents_and_forks(("failing_parents", "failing_forks"), parents, jump_R, fixed_at)


def parents_and_forks(names, parents, jump_R, fixed_at, num_forks=6, steps=(0, 100, 300, 600, 800), seed=4):
    """Sweeps of both names: forks jump with their parents from `fixed_at` on, and as anybody's before."""
    rng = np.random.default_rng(seed)
    forks, jumps = [], []
    for parent, jump in zip(parents, jump_R, strict=True):
        for step in steps:
            for data in range(num_forks):
                fork = replace(parent, run_id=f"f{parent.run_id}-{step}-{data}", data_seed=9000 + data)
                forks.append(replace(fork, parent=parent.run_id, fork_step=step))
                jumps.append(jump if step >= fixed_at else rng.choice(jump_R))
    history = planted_history(f"zhao_2023_{names[1]}", forks, np.array(jumps), every=100)
    started_RT = history.steps_T > np.array([run.fork_step for run in forks])[:, None]
    values = {metric: np.where(started_RT, values_RT, NAN) for metric, values_RT in history.values.items()}
    return {
        names[0]: JudgedSweep(planted_history(f"zhao_2023_{names[0]}", parents, jump_R, every=100)),
        names[1]: JudgedSweep(replace(history, values=values)),
    }


CIRCUITS = {
    "qk_previous": 1.0,
    "qk_matching": 0.9,
    "ov_copying": 0.97,
    "ablated_accuracy/layer1": 0.3,
    "ablated_accuracy/values": 0.25,
    "ablated_accuracy/keys": 0.99,
    "ablated_accuracy/query": 0.99,
    "ablated_accuracy/layer2": 0.2,
}
SWAPS = {"maps": 0.98, "transplanted": 0.25, "stitched": 0.4}


def circuits(num_converged=40, num_stuck=4, seed=5, **changed):
    """Runs whose circuits are induction's, measured at their end; stuck ones have, and give, nothing of it."""
    sweep = plain("circuits", num_converged, num_stuck, seed=seed, with_maps=True, every=25)
    history, rng = sweep.history, np.random.default_rng(seed)
    is_stuck_R = np.arange(len(history.runs)) >= num_converged
    values = dict(history.values)

    def measured(mean_R):
        column_RT = np.full((len(history.runs), len(history.steps_T)), NAN)
        column_RT[:, -1] = np.clip(mean_R + 0.01 * rng.normal(size=len(history.runs)), 0, 1)
        return column_RT

    for metric, mean in (CIRCUITS | changed).items():
        values[metric] = measured(np.where(is_stuck_R, 0.1, mean))
    for kind, mean in SWAPS.items():
        for d, donor in enumerate(history.runs):
            column_RT = measured(np.where(is_stuck_R | is_stuck_R[d], 0.1, changed.get(kind, mean)))
            column_RT[d] = NAN
            values[f"{kind}_accuracy/{donor.init_seed}"] = column_RT
    # Induction overtakes at the highest level.
    previous_RT = values["previous_token_score.l0h0"]
    values["previous_token_score.l0h0"] = np.minimum(previous_RT, changed.get("most", 0.87))
    return JudgedSweep(replace(history, values=values), sweep.snapshots)


def model_widths(num_seeds=32, seed=6, share=0.25, late=900.0):
    """Below a width of 8 no run converges, at 8 this share does, above it all."""
    runs, jumps = [], []
    for width in (4, 8, 12, 16):
        for s in range(num_seeds):
            runs.append(RunInfo(f"d{width}-{s}", f"s{width}", s, s, {"model.width": width}))
            jumps.append(NAN if width < 8 or (width == 8 and s >= share * num_seeds) else late + s)
    return JudgedSweep(planted_history("zhao_2023_model_widths", runs, np.array(jumps), seed=seed, every=100))


def everything():
    """All sweeps of the full profile."""
    return Sweeps(
        {
            "setting_a": setting_a(),
            "full_width": plain("full_width", 40),
            "setting_a_again": plain("setting_a_again", 40, 4, with_maps=True),
            "pair_tokens": one_layer(40),
            "setting_b": plain("setting_b", 40, 4),
            "setting_c": plain("setting_c", 40, 90),
            "circuits": circuits(),
            "model_widths": model_widths(),
            "models": models(),
            "depths": depths(),
            "crossed": crossed(),
            "head_widths": head_widths(),
            **forked(),
            **failing(),
        }
    )
