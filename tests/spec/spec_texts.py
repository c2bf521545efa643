"""Sweep files that the tests of specs read, and change."""

GOOD = """\
name: quickstart
task: {name: dictionary_lookup, num_keys: 8, num_values: 8, num_pairs: 8}
model: {name: attention_only, width: 16, head_width: 4}
optimiser: {name: adamw, lr: 3e-3, beta1: 0.9, beta2: 0.98, weight_decay: 0.0, clip: 1.0}
schedule: {name: constant, warmup_steps: 0}
batch_size: 64
dtype: float32
budget: 1200
vary:
  - model.head_width: [4, 3]
  - optimiser.lr: {log_range: [1e-3, 1e-2], num: 3}
seeds: {together: {range: [0, 4]}}
streams: {"data": 7, "init/layer0.query": 0}
grid: {chunk: 50, eval_every: 100, probe_steps: [0, 7, 50, 1000]}
converged: {metric: label_accuracy, at_least: 0.99, evaluations: 3}
stopping: {name: run_to_budget}
snapshots: {states: [0, 100, 1200], attention: []}
resources: {slots: 8, device: cpu, share_with_group: true}
tracking: {mode: disabled}
"""

FORK = """\
name: forks
fork: {sweep: results/quickstart, steps: [100, 200], data_seed: {range: [0, 3]}, changes: {optimiser.lr: 1e-3}}
budget: 400
"""

TAKING = """\
name: forks
fork:
  sweep: results/quickstart
  steps: [0, 100]
  changes: {weights: {layer0.query: 0123456789abcdef, layer0.key: fedcba9876543210}, optimiser.lr: {times: 2}}
budget: 400
"""


def replaced(line, new):
    """GOOD with the line that starts with `line` replaced, and the number of that line."""
    lines = GOOD.splitlines()
    (number,) = (index for index, text in enumerate(lines) if text.strip().startswith(line))
    return "\n".join([*lines[:number], new, *lines[number + 1 :]]), number + 1
