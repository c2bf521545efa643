"""Error messages for invalid sweep files."""
# ruff: noqa: E501 - a row of the tables below stays on one line

import pytest
from pydantic import ValidationError

from pipeline.spec.sweep import SweepSpec
from tests.spec.spec_texts import GOOD, replaced

# Line that is replaced, what stands there instead, and the message at that line.
WRONG = [
    ("name:", "name: two words", "name: should match pattern"),
    ("name:", "name: ..", "name: should match pattern"),
    ("name:", "name: 12", "name: should be a valid string, given 12 (quote it, if it is text)"),
    ("name:", "nam: x", "nam: unknown key 'nam'; did you mean 'name'? (valid: name, description, imports, task,"),
    ("task:", "task: {name: dictionary_lokup}", "task.name: unknown name 'dictionary_lokup'; did you mean 'dictionary_lookup'?"),
    ("task:", "task: {num_keys: 8}", "task.name: required, but missing (valid: dataset, dictionary_lookup"),
    ("task:", "task: dictionary_lookup", "task: should be a mapping such as {name: dataset}"),
    ("task:", "task: {name: [1]}", "task.name: unknown name [1] (valid: "),
    ("task:", "task: {name: linear_regression}", "model.name: takes tokens, but task linear_regression gives vectors (models"),
    ("model:", "model: {name: attention_only, widht: 16}", "model.widht: unknown key 'widht'; did you mean 'width'? (valid: name"),
    ("model:", "model: {name: attention_only, head_width: 0}", "model.head_width: should be greater than or equal to 1, given 0"),
    ("model:", "model: {name: attention_only, width: 1e1}", "model.width: should be a valid integer, given 10.0 (write 10)"),
    ("model:", "model: {name: attention_only, width: true}", "model.width: should be a valid integer, given true (true and"),
    ("optimiser:", "optimiser: {name: adamw}", "optimiser.lr: required, but missing"),
    ("optimiser:", "optimiser: {name: adamw, lr: '1e-3'}", "optimiser.lr: should be a valid number, given '1e-3' (quoted, it is"),
    ("optimiser:", "optimiser: {name: adamw, lr: fast}", "optimiser.lr: should be a valid number, given 'fast' (this is text"),
    ("optimiser:", "optimiser: {name: adamw, lr: true}", "optimiser.lr: should be a valid number, given true (true and false"),
    ("optimiser:", "optimiser: {name: adamw, lr: 1, clip: 0}", "optimiser.clip: should be greater than 0, given 0"),
    ("optimiser:", "optimiser: {name: adamw, lr: 1.0e+300}", "optimiser.lr: is more than float32 can hold (3.4e+38)"),
    ("optimiser:", "optimiser: {name: sgd, lr: 1, beta1: 0}", "optimiser.beta1: unknown key 'beta1'"),
    ("schedule:", "schedule: {name: cosine}", "schedule.horizon: required, but missing"),
    ("schedule:", "schedule: {name: linear, horizon: 5, warmup_steps: 5}", "schedule: warmup_steps (5) must be less than horizon (5)"),
    ("batch_size:", "batch_size: 0", "batch_size: should be greater than 0, given 0"),
    ("batch_size:", "batch_size: .inf", "batch_size: must be a finite number, given .inf"),
    ("dtype:", "dtype: float16", "dtype: should be 'float32' or 'float64', given 'float16'"),
    ("budget:", "budget: 1210", "budget: should be a multiple of grid.chunk (50), given 1210; try 1200 or 1250"),
    ("budget:", "budget: 0", "budget: should be greater than 0, given 0"),
    ("- model", "  - model.head_widht: [1]", "vary[0].model.head_widht: unknown path 'model.head_widht'; did you mean 'model.head_width'?"),
    ("- model", "  - width: [1]", "vary[0].width: unknown path 'width'"),
    ("- model", "  - budget: [70]", "vary[0].budget[0]: should be a multiple of grid.chunk (50), given 70; try 50 or 100"),
    ("- model", "  - budget: [600, 900.0]", "vary[0].budget[1]: should be a valid integer, given 900.0 (write 900)"),
    ("- model", "  - budget: {range: [0, 50], step: 50}", "vary[0].budget: should be greater than 0, given 0"),
    ("- model", "  - budget: [600, 900]", "vary: settings number 0 and 3 are the same, and so are their runs: budget=900"),
    ("- model", "  - {model.head_width: [4, 3], budget: [1200, 70]}", "vary[0].budget[1]: should be a multiple of grid.chunk"),
    ("- model", "  - budget.of: [50]", "vary[0].budget.of: unknown path 'budget.of'; did you mean 'budget'?"),
    ("- model", "  - budgte: [50]", "vary[0].budgte: unknown path 'budgte'; did you mean 'budget'?"),
    ("- model", "  - model.head_width: [4, -1]", "vary[0].model.head_width[1]: should be greater than or equal to 1, given -1"),
    ("- model", "  - model.head_width: [4, 4]", "vary: settings number 0 and 3 are the same"),
    ("- model", "  - model.head_width: []", "vary[0].model.head_width: a list must hold from 1 to 100000 values, given 0"),
    ("- model", "  - model.head_width: 4", "vary[0].model.head_width: should be a list, {range"),
    ("- model", "  - model.head_width: {rang: [1, 2]}", "vary[0].model.head_width: unknown form 'rang'; did you mean 'range'?"),
    ("- model", "  - model.head_width: {range: [1, 2], num: 3}", "vary[0].model.head_width.num: unknown key 'num'"),
    ("- model", "  - model.head_width: {range: [2, 2]}", "vary[0].model.head_width: a range must hold from 1"),
    ("- model", "  - model.head_width: {range: [-9223372036854775807, 9223372036854775807]}", "vary[0].model.head_width: a range must hold"),
    ("- model", "  - model.head_width: {log_range: [1.5, 4], num: 2}", "vary[0].model.head_width: should be a valid integer, given 1.5"),
    ("- model", "  - model.init_scale: {log_range: [0, 4], num: 3}", "vary[0].model.init_scale.log_range: ends must be positive"),
    ("- model", "  - model.head_width: {range: [0, 3]}", "vary[0].model.head_width: should be greater than or equal to 1, given 0"),
    ("- model", "  - {model.head_width: [1, 2], model.width: [4]}", "vary[0]: keys of one entry are zipped and need equal lengths"),
    ("- model", "  - model.name: [attention_only]", "vary[0].model.name: another model has other parameters: give whole"),
    ("- model", "  - model: [{name: attention_only, head_width: -3}]", "vary[0].model[0].head_width: should be greater than or"),
    ("- model", "  - {}", "vary[0]: should be a mapping such as"),
    ("- model", "  - batch_size: [1, true]", "vary[0].batch_size[1]: should be a valid integer, given true"),
    ("- model", "  - streams.dat: [1]", "vary[0].streams.dat[0]: unknown stream 'dat'; did you mean 'data'?"),
    ("- model", "  - {random: {model.width: {choice: [1, 2]}}, num: 200000}", "vary[0].num: should be less than or equal to 100000"),
    ("- model", "  - {random: {model.width: {chioce: [1]}}, num: 2}", "vary[0].random.model.width: unknown form 'chioce'; did"),
    ("- model", "  - {random: {model.widht: {choice: [1]}}, num: 2}", "vary[0].random.model.widht: unknown path 'model.widht'"),
    ("- model", "  - {random: {model.width: {choice: [0]}}, num: 2}", "vary[0].random.model.width: should be greater than or equal to 1"),
    ("- model", "  - {random: {model.init_scale: {uniform: [2, 1]}}, num: 2}", "vary[0].random.model.init_scale.uniform: the second"),
    ("- optimiser", "  - model.head_width: [1]", "vary[1].model.head_width: leaves model.head_width without effect, which"),
    ("- optimiser", "  - model: [{name: attention_only}]", "vary[1].model: leaves model.head_width without effect"),
    ("seeds:", "seeds: {together: [0, 0]}", "seeds: each pair (init_seed, data_seed) must occur once, given (0, 0) 2 times"),
    ("seeds:", "seeds: {together: [-1]}", "seeds.together[0]: should be greater than or equal to 0, given -1"),
    ("seeds:", "seeds: {together: {range: [-1, 3]}}", "seeds.together.range[0]: seeds must be from 0 up, given -1"),
    ("seeds:", "seeds: {together: {listed: [a]}}", "seeds.together: unknown form 'listed'"),
    ("seeds:", "seeds: {together: [true]}", "seeds.together[0]: should be a valid integer, given true"),
    ("seeds:", "seeds: {}", "seeds: needs exactly one of together, crossed, zipped, given none"),
    ("seeds:", "seeds: [0, 1]", "seeds: should be a valid dictionary or instance of Seeds, given [0, 1]"),
    ("seeds:", "seeds: {crossed: {init_seed: [0]}}", "seeds.crossed.data_seed: required, but missing"),
    ("seeds:", "seeds: {zipped: {init_seed: [0], data_seed: [1, 2]}}", "seeds: zipped seeds need equal lengths, given 1 and 2"),
    ("seeds:", "seeds: {zipped: {init_seed: [0, 0], data_seed: [1, 1]}}", "seeds: each pair"),
    ("seeds:", "seeds: {together: [0], crossed: {init_seed: [0], data_seed: [1]}}", "seeds: needs exactly one of together"),
    ("seeds:", "seeds: null", "seeds: required, but missing"),
    ("streams:", "streams: {dta: 1}", "streams.dta: unknown stream 'dta'; did you mean 'data'? (valid: data, init/embedding"),
    ("streams:", "streams: {data: -1}", "streams.data: should be greater than or equal to 0, given -1"),
    ("streams:", "streams: {'a b': 1}", "streams.'a b': should match pattern"),
    ("streams:", "streams: [1]", "streams: should be a valid dictionary, given [1]"),
    ("grid:", "grid: {eval_every: 70}", "grid.eval_every: should be a multiple of grid.chunk (50), given 70"),
    ("grid:", "grid: {eval_every: 500}", "grid.eval_every: must divide the budget, so that the last step is evaluated"),
    ("grid:", "grid: {eval_every: 50, eval_steps: [50]}", "grid.eval_every: has no effect beside eval_steps"),
    ("grid:", "grid: {eval_steps: [0, 50]}", "grid.eval_steps: steps must be from 50 to the budget (1200), given 0"),
    ("grid:", "grid: {eval_steps: [50, 130]}", "grid.eval_steps: steps after the first chunk must be multiples of grid.chunk"),
    ("grid:", "grid: {eval_steps: [100, 50]}", "grid.eval_steps: steps must increase"),
    ("grid:", "grid: {eval_steps: []}", "grid.eval_steps: must name at least one step"),
    ("grid:", "grid: {eval_steps: [50, x]}", "grid.eval_steps[1]: should be a valid integer, given 'x'"),
    ("grid:", "grid: {probe_steps: [0, 1250]}", "grid.probe_steps: steps must be from 0 to the budget (1200), given 1250"),
    ("grid:", "grid: {chunk: 1, chunck: 1}", "grid.chunck: unknown key 'chunck'; did you mean 'chunk'?"),
    ("grid:", "windows: [0.1, 0.1]", "windows[1]: shares of the budget must increase, given 0.1 after 0.1"),
    ("grid:", "windows: [0, 60]", "windows[1]: should be less than 1, given 60"),
    ("grid:", "windows: [-0.1]", "windows[0]: should be greater than or equal to 0, given -0.1"),
    ("grid:", "windows: 0.5", "windows: should be a valid tuple, given 0.5"),
    ("grid:", "readings: [circuit]", "readings[0]: unknown reading 'circuit'; did you mean 'circuits'? (valid: circuits"),
    ("grid:", "readings: [circuits, circuits]", "readings[1]: circuits is named twice"),
    ("grid:", "readings: circuits", "readings: should be a valid tuple, given 'circuits'"),
    ("grid:", "windows: []\nreadings: [circuits]", "readings: has no effect without windows, at which readings are taken"),
    ("converged:", "converged: {at_least: 1, at_most: 2}", "converged: needs exactly one of at_most, at_least, given both"),
    ("converged:", "converged: {evaluations: 2}", "converged: needs exactly one of at_most, at_least, given neither"),
    ("converged:", "converged: {at_most: 1, evaluations: 0}", "converged.evaluations: should be greater than or equal to 1"),
    ("converged:", "converged: {at_most: 1, evaluations: 13}", "converged.evaluations: asks for 13 successive evaluations, the grid"),
    ("converged:", "converged: {at_most: 1, metric: label_exces}", "converged.metric: should be 'label_excess', 'label_loss' or"),
    ("stopping:", "stopping: {name: never}", "stopping.name: unknown name 'never' (valid: "),
    ("snapshots:", "snapshots: {states: [70]}", "snapshots.states[0]: should be a multiple of grid.chunk (50) from 0 to 1200"),
    ("snapshots:", "snapshots: {weights: [0, 1250]}", "snapshots.weights[1]: should be a multiple of grid.chunk (50) from 0 to"),
    ("snapshots:", "snapshots: {attention: [100, 50]}", "snapshots.attention[1]: steps must increase, given 50 after 100"),
    ("snapshots:", "snapshots: {states: window}", "snapshots.states: should be a list of steps, or the word windows, given 'window'"),
    ("snapshots:", "snapshots: {weights: 50}", "snapshots.weights: should be a valid tuple, given 50"),
    ("snapshots:", "windows: []\nsnapshots: {weights: windows}", "snapshots.weights: has no effect: the sweep has no windows"),
    ("resources:", "resources: {threads: 0}", "resources.threads: should be greater than 0, given 0"),
    ("resources:", "resources: {device: gpu}", "resources.device: should be 'auto', 'cpu' or 'cuda', given 'gpu'"),
    ("resources:", "resources: {share_with_group: yes}", "resources.share_with_group: should be a valid boolean, given 'yes'"),
    ("tracking:", "tracking: {mode: on}", "tracking.mode: should be 'offline', 'online' or 'disabled', given 'on'"),
    ("tracking:", "tracking: offline", "tracking: should be a valid dictionary or instance of Tracking"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "new", "message"), WRONG, ids=[new.strip() for _, new, _ in WRONG])
def test_each_mistake_is_told_at_its_line(mistakes, line, new, message):
    text, number = replaced(line, new)
    told = mistakes(text)
    place = number if not message.startswith(("vary:", "model.name: takes")) else {"v": 9, "m": 3}[message[0]]
    place += new.count("\n")
    assert any(each.startswith(f"s.yaml:{place}: {message}") for each in told), told
    assert len(told) == (2 if any(text in new for text in ("nam:", "name: linear_reg", "log_range: [1.5")) else 1), told


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(mistakes):
    text = GOOD.replace("width: 16", "width: x").replace("batch_size: 64", "batch_sise: 64").replace("num: 3", "num: 1")
    text = text.replace("chunk: 50", "chunk: 35").replace("name: quick", "name: -quick").replace("lr: 3e-3", "lr: .nan")
    text = text.replace("{mode: disabled}", "{mode: disabled, mode: x}")
    told = mistakes(text, "seeds={together: [x]}")
    assert [line.partition(": ")[0] + ": " + line.split(": ")[1] for line in told[:-1]] == [
        "s.yaml:1: name",
        "s.yaml:1: batch_size",
        "s.yaml:3: model.width",
        "s.yaml:4: optimiser.lr",
        "s.yaml:6: batch_sise",
        "s.yaml:8: budget",
        "s.yaml:11: vary[1].optimiser.lr.num",
        "s.yaml:19: tracking.mode",
    ]
    assert told[-1].startswith(
        "override 'seeds={together: [x]}': seeds.together[0]: should be a valid integer, given 'x'"
    )


def test_a_factor_is_blamed_for_a_mistake_that_needs_two_fields(mistakes):
    text, _ = replaced("schedule:", "schedule: {name: cosine, horizon: 100}")
    told = mistakes(text, "vary=[{schedule.warmup_steps: [10, 100]}]")
    assert told == [
        "override 'vary=[{schedule.warmup_steps: [10, 100]}]': vary[0].schedule.warmup_steps[1]: "
        "warmup_steps (100) must be less than horizon (100), in the setting schedule.warmup_steps=100"
    ]


def test_too_many_settings_are_refused_before_any_is_made(mistakes):
    factor = "  - task.num_keys: {range: [2, 1000]}\n  - task.num_values: {range: [2, 1000]}"
    text, number = replaced("- model", factor)
    assert mistakes(text) == [f"s.yaml:{number - 1}: vary: gives 2988012 settings; at most 100000 are taken"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("budget", "should be field=value, such as optimiser.lr=1e-2"),
        ("=3", "should be field=value"),
        ("a..b=3", "should be field=value"),
        ("bugdet=3", "bugdet: unknown key 'bugdet'; did you mean 'budget'?"),
        ("optimiser.lrr=3", "optimiser.lrr: unknown key 'lrr'; did you mean 'lr'?"),
        ("budget.x=3", "budget: holds no keys of its own; name the whole field"),
        ("optimiser.lr='3'", "optimiser.lr: should be a valid number, given '3' (quoted"),
        ("optimiser.lr=.nan", "optimiser.lr: must be a finite number"),
        ("optimiser.lr=[", "optimiser.lr: not valid YAML"),
        ("optimiser.lr=*x", "optimiser.lr: aliases"),
        ("batch_size=", "batch_size: required, but missing"),
        ("vary=[{model.width: [0]}]", "vary[0].model.width[0]: should be greater than or equal to 1, given 0"),
    ],
)
def test_a_wrong_override_is_named(mistakes, override, message):
    (told,) = mistakes(GOOD, override)
    assert told.startswith(f"override {override!r}: {message}")


def test_an_override_given_twice_is_refused(mistakes):
    assert mistakes(GOOD, "budget=1300", "budget=1400") == ["override 'budget=1400': budget: given twice"]


def test_a_spec_built_in_python_is_told_its_mistakes_too(load):
    fields = load(GOOD).identity()
    assert SweepSpec(**fields).name == "quickstart"
    with pytest.raises(ValidationError, match="did you mean 'budget'"):
        SweepSpec(**fields, bugdet=3)
