"""What a sweep file may say, and what a user is told of one that says something else."""
# ruff: noqa: E501 - a row of the tables below stays on one line

import pytest
from pydantic import ValidationError

from pipeline.spec import RunConfig, SpecError, SweepSpec, diff, load_spec

GOOD = """\
name: quickstart
task: {name: dictionary_lookup, num_keys: 8, num_values: 8, num_pairs: 8}
model: {name: attention_only, width: 16, head_width: 4}
optimiser: {name: adamw, lr: 3e-3, beta1: 0.9, beta2: 0.98, weight_decay: 0.0, clip: 1.0}
schedule: {name: constant, warmup_steps: 0}
batch_size: 64
dtype: float32
budget: 1200
settings:
  - model.head_width: [4, 3]
  - optimiser.lr: {log_range: [1e-3, 1e-2], num: 3}
seeds: {together: {range: [0, 4]}}
streams: {"data": 7, "init/layer0.query": 0}
grid: {chunk: 50, eval_every: 100, probe_steps: [0, 7, 50, 1000]}
converged: {metric: label_accuracy, at_least: 0.99, evaluations: 3}
stopping: {name: run_to_budget}
snapshots: {weights: [0, 100, 1200], attention: []}
resources: {width: 8, device: cpu, share_with_group: true}
tracking: {mode: disabled}
"""

FORK = """\
name: forks
fork: {sweep: results/quickstart, steps: [100, 200], data_seed: {range: [0, 3]}, changes: {optimiser.lr: 1e-3}}
budget: 400
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def from_text(text, *overrides):
        (tmp_path / "s.yaml").write_text(text)
        return load_spec("s.yaml", overrides)

    return from_text


@pytest.fixture
def mistakes(load):
    def told(text, *overrides):
        with pytest.raises(SpecError) as refused:
            load(text, *overrides)
        return str(refused.value).split("\n")

    return told


def test_a_whole_file_becomes_a_spec(load):
    spec = load(GOOD)
    assert spec.base.optimiser.lr == 3e-3
    assert spec.converged.at_least == 0.99
    assert spec.snapshot_steps == {"weights": (0, 100, 1200), "attention": ()}
    assert [setting.model.head_width for setting in spec.expanded_settings] == [4, 4, 4, 3, 3, 3]
    assert [setting.optimiser.lr for setting in spec.expanded_settings][:3] == [1e-3, 0.00316227766017, 1e-2]
    assert [(run.init_seed, run.data_seed) for run in spec.runs()][:5] == [(0, 0), (1, 1), (2, 2), (3, 3), (0, 0)]
    assert len(spec.runs()) == 24


def test_the_short_form_has_the_defaults(load):
    lines = [
        line for line in GOOD.splitlines() if line.split(":")[0] in ("name", "task", "model", "batch_size", "budget")
    ]
    spec = load("\n".join([*lines, "optimiser: {name: sgd, lr: 1}", "seeds: {together: [0]}"]))
    assert (spec.base.dtype, spec.base.schedule.name, spec.grid.chunk) == ("float32", "constant", 50)
    assert (spec.converged.metric, spec.converged.at_most, spec.converged.evaluations) == ("label_excess", 0.02, 2)
    assert spec.stopping.name == "after_convergence"
    assert spec.snapshot_steps == {"weights": (1200,), "attention": (1200,)}
    assert len(spec.runs()) == 1


@pytest.mark.parametrize("text", [GOOD, FORK])
def test_what_is_written_out_loads_as_the_same_spec(load, text):
    spec = load(text)
    again = load(spec.to_yaml())
    assert again == spec
    assert again.sweep_id == spec.sweep_id
    assert SweepSpec.model_validate(spec.identity()) == spec
    assert SweepSpec.model_validate(spec.model_dump()) == spec
    assert SweepSpec.model_validate_json(spec.model_dump_json()) == spec
    if spec.fork is None:
        assert [run.run_id for run in again.runs()] == [run.run_id for run in spec.runs()]


def replaced(line, new):
    """GOOD with the line that starts with `line` replaced, and the number of that line."""
    lines = GOOD.splitlines()
    (number,) = (index for index, text in enumerate(lines) if text.strip().startswith(line))
    return "\n".join([*lines[:number], new, *lines[number + 1 :]]), number + 1


# Line that is replaced, what stands there instead, and the message at that line.
WRONG = [
    ("name:", "name: two words", "name: should match pattern"),
    ("name:", "name: ..", "name: should match pattern"),
    ("name:", "name: 12", "name: should be a valid string, given 12 (quote it, if it is text)"),
    ("name:", "nam: x", "nam: unknown key 'nam'; did you mean 'name'? (valid: name, description, task,"),
    ("task:", "task: {name: dictionary_lokup}", "task.name: unknown name 'dictionary_lokup'; did you mean 'dictionary_lookup'?"),
    ("task:", "task: {num_keys: 8}", "task.name: required, but missing (valid: dictionary_lookup"),
    ("task:", "task: dictionary_lookup", "task: should be a mapping such as {name: dictionary_lookup}"),
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
    ("optimiser:", "optimiser: {name: sgd, lr: 1, beta1: 0}", "optimiser.beta1: unknown key 'beta1'"),
    ("schedule:", "schedule: {name: cosine}", "schedule.horizon: required, but missing"),
    ("schedule:", "schedule: {name: linear, horizon: 5, warmup_steps: 5}", "schedule: warmup_steps (5) must be less than horizon (5)"),
    ("batch_size:", "batch_size: 0", "batch_size: should be greater than 0, given 0"),
    ("batch_size:", "batch_size: .inf", "batch_size: must be a finite number, given .inf"),
    ("dtype:", "dtype: float16", "dtype: should be 'float32' or 'float64', given 'float16'"),
    ("budget:", "budget: 1210", "budget: should be a multiple of grid.chunk (50), given 1210; try 1200 or 1250"),
    ("budget:", "budget: 0", "budget: should be greater than 0, given 0"),
    ("- model", "  - model.head_widht: [1]", "settings[0].model.head_widht: unknown path 'model.head_widht'; did you mean 'model.head_width'?"),
    ("- model", "  - width: [1]", "settings[0].width: unknown path 'width'"),
    ("- model", "  - budget: [50]", "settings[0].budget: unknown path 'budget'"),
    ("- model", "  - model.head_width: [4, -1]", "settings[0].model.head_width[1]: should be greater than or equal to 1, given -1"),
    ("- model", "  - model.head_width: [4, 4]", "settings: settings number 0 and 3 are the same"),
    ("- model", "  - model.head_width: []", "settings[0].model.head_width: a list must hold from 1 to 100000 values, given 0"),
    ("- model", "  - model.head_width: 4", "settings[0].model.head_width: should be a list, {range"),
    ("- model", "  - model.head_width: {rang: [1, 2]}", "settings[0].model.head_width: unknown form 'rang'; did you mean 'range'?"),
    ("- model", "  - model.head_width: {range: [1, 2], num: 3}", "settings[0].model.head_width.num: unknown key 'num'"),
    ("- model", "  - model.head_width: {range: [2, 2]}", "settings[0].model.head_width: a range must hold from 1"),
    ("- model", "  - model.head_width: {range: [-9223372036854775807, 9223372036854775807]}", "settings[0].model.head_width: a range must hold"),
    ("- model", "  - model.head_width: {log_range: [1.5, 4], num: 2}", "settings[0].model.head_width: should be a valid integer, given 1.5"),
    ("- model", "  - model.init_scale: {log_range: [0, 4], num: 3}", "settings[0].model.init_scale.log_range: ends must be positive"),
    ("- model", "  - model.head_width: {range: [0, 3]}", "settings[0].model.head_width: should be greater than or equal to 1, given 0"),
    ("- model", "  - {model.head_width: [1, 2], model.width: [4]}", "settings[0]: keys of one entry are zipped and need equal lengths"),
    ("- model", "  - model.name: [attention_only]", "settings[0].model.name: another model has other parameters: give whole"),
    ("- model", "  - model: [{name: attention_only, head_width: -3}]", "settings[0].model[0].head_width: should be greater than or"),
    ("- model", "  - {}", "settings[0]: should be a mapping such as"),
    ("- model", "  - batch_size: [1, true]", "settings[0].batch_size[1]: should be a valid integer, given true"),
    ("- model", "  - streams.dat: [1]", "settings[0].streams.dat[0]: unknown stream 'dat'; did you mean 'data'?"),
    ("- model", "  - {random: {model.width: {choice: [1, 2]}}, num: 200000}", "settings[0].num: should be less than or equal to 100000"),
    ("- model", "  - {random: {model.width: {chioce: [1]}}, num: 2}", "settings[0].random.model.width: unknown form 'chioce'; did"),
    ("- model", "  - {random: {model.widht: {choice: [1]}}, num: 2}", "settings[0].random.model.widht: unknown path 'model.widht'"),
    ("- model", "  - {random: {model.width: {choice: [0]}}, num: 2}", "settings[0].random.model.width: should be greater than or equal to 1"),
    ("- model", "  - {random: {model.init_scale: {uniform: [2, 1]}}, num: 2}", "settings[0].random.model.init_scale.uniform: the second"),
    ("- optimiser", "  - model.head_width: [1]", "settings[1].model.head_width: leaves model.head_width without effect, which"),
    ("- optimiser", "  - model: [{name: attention_only}]", "settings[1].model: leaves model.head_width without effect"),
    ("seeds:", "seeds: {together: [0, 0]}", "seeds: each pair (init_seed, data_seed) must stand once, given (0, 0) 2 times"),
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
    ("converged:", "converged: {at_least: 1, at_most: 2}", "converged: needs exactly one of at_most, at_least, given both"),
    ("converged:", "converged: {evaluations: 2}", "converged: needs exactly one of at_most, at_least, given neither"),
    ("converged:", "converged: {at_most: 1, evaluations: 0}", "converged.evaluations: should be greater than or equal to 1"),
    ("converged:", "converged: {at_most: 1, evaluations: 13}", "converged.evaluations: asks for 13 successive evaluations, the grid"),
    ("converged:", "converged: {at_most: 1, metric: label_exces}", "converged.metric: should be 'label_excess', 'label_loss' or"),
    ("stopping:", "stopping: {name: never}", "stopping.name: unknown name 'never' (valid: "),
    ("snapshots:", "snapshots: {weights: [70]}", "snapshots.weights[0]: should be a multiple of grid.chunk (50) from 0 to 1200"),
    ("snapshots:", "snapshots: {weights: [0, 1250]}", "snapshots.weights[1]: should be a multiple of grid.chunk (50) from 0 to"),
    ("snapshots:", "snapshots: {attention: [100, 50]}", "snapshots.attention[1]: steps must increase, given 50 after 100"),
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
    place = number if not message.startswith(("settings:", "model.name: takes")) else {"s": 9, "m": 3}[message[0]]
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
        "s.yaml:11: settings[1].optimiser.lr.num",
        "s.yaml:19: tracking.mode",
    ]
    assert told[-1].startswith(
        "override 'seeds={together: [x]}': seeds.together[0]: should be a valid integer, given 'x'"
    )


def test_a_factor_is_blamed_for_a_mistake_that_needs_two_fields(mistakes):
    text, _ = replaced("schedule:", "schedule: {name: cosine, horizon: 100}")
    told = mistakes(text, "settings=[{schedule.warmup_steps: [10, 100]}]")
    assert told == [
        "override 'settings=[{schedule.warmup_steps: [10, 100]}]': settings[0].schedule.warmup_steps[1]: "
        "warmup_steps (100) must be less than horizon (100), in the setting schedule.warmup_steps=100"
    ]


def test_too_many_settings_are_refused_before_any_is_made(mistakes):
    factor = "  - task.num_keys: {range: [2, 1000]}\n  - task.num_values: {range: [2, 1000]}"
    text, number = replaced("- model", factor)
    assert mistakes(text) == [f"s.yaml:{number - 1}: settings: give 2988012 settings; at most 100000 are taken"]


def test_overrides_reach_every_field(load):
    spec = load(
        GOOD, "budget=1500", "optimiser.lr=1e-2", "settings=[]", "streams.init/layer0.query=5", "description=a = b"
    )
    assert (spec.budget, spec.base.optimiser.lr, spec.settings, spec.description) == (1500, 1e-2, (), "a = b")
    assert spec.streams == {"data": 7, "init/layer0.query": 5}


def test_an_override_may_name_a_section_that_the_file_leaves_out(load):
    for left_out in ("", "tracking:"):
        text, _ = replaced("tracking:", left_out)
        assert load(text, "tracking.mode=online").tracking.mode == "online"


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
        ("settings=[{model.width: [0]}]", "settings[0].model.width[0]: should be greater than or equal to 1, given 0"),
    ],
)
def test_a_wrong_override_is_named(mistakes, override, message):
    (told,) = mistakes(GOOD, override)
    assert told.startswith(f"override {override!r}: {message}")


def test_an_override_given_twice_is_refused(mistakes):
    assert mistakes(GOOD, "budget=1300", "budget=1400") == ["override 'budget=1400': budget: given twice"]


def test_zipped_values_move_together_and_a_whole_section_can_be_a_value(load):
    text, _ = replaced("- model", "  - {model.width: [16, 32], batch_size: {range: [32, 65], step: 32}}")
    models = "model: [{name: attention_only}, {name: attention_only, num_heads: 2}]"
    settings = load(
        text, f"settings=[{{{models}}}, {{model.width: [16, 32], batch_size: {{range: [32, 65], step: 32}}}}]"
    )
    assert [(s.model.num_heads, s.model.width, s.batch_size) for s in settings.expanded_settings] == [
        (1, 16, 32),
        (1, 32, 64),
        (2, 16, 32),
        (2, 32, 64),
    ]


def test_random_settings_depend_on_seed_path_and_place_alone(load):
    def drawn(laws, num, seed):
        spec = load(GOOD, f"settings=[{{random: {{{laws}}}, num: {num}, seed: {seed}}}]")
        return [(s.optimiser.lr, s.optimiser.beta2) for s in spec.expanded_settings]

    lr, beta = "optimiser.lr: {log_uniform: [1e-4, 1e-2]}", "optimiser.beta2: {uniform: [.9, .99]}"
    few, many = drawn(f"{lr}, {beta}", 5, 0), drawn(f"{beta}, {lr}", 40, 0)
    assert many[:5] == few
    assert [a for a, _ in drawn(lr, 5, 0)] == [a for a, _ in few]
    assert drawn(lr, 5, 1) != drawn(lr, 5, 0)
    assert all(1e-4 <= a <= 1e-2 and 0.9 <= b <= 0.99 for a, b in many)
    assert min(a for a, _ in many) < 4e-4 < 2.5e-3 < max(a for a, _ in many)
    assert few[0] == (0.00207166549863, 0.918597082601)


def test_every_choice_is_drawn_about_as_often(load):
    text = (
        "settings=[{random: {model.head_width: {choice: [2, 4, 8, 16]}, optimiser.lr: {uniform: [1, 2]}}, num: 2000}]"
    )
    widths = [setting.model.head_width for setting in load(GOOD, text).expanded_settings]
    assert all(430 < widths.count(width) < 570 for width in (2, 4, 8, 16))


@pytest.mark.parametrize(
    ("seeds", "pairs"),
    [
        ("{together: [3, 1]}", [(3, 3), (1, 1)]),
        ("{together: {range: [0, 5], step: 2}}", [(0, 0), (2, 2), (4, 4)]),
        ("{crossed: {init_seed: {range: [0, 2]}, data_seed: [5, 0]}}", [(0, 5), (0, 0), (1, 5), (1, 0)]),
        ("{zipped: {init_seed: [1, 2], data_seed: [0, 0]}}", [(1, 0), (2, 0)]),
        ("{together: [9223372036854775807]}", [(2**63 - 1, 2**63 - 1)]),
    ],
)
def test_seeds_are_paired_as_declared(load, seeds, pairs):
    runs = load(GOOD, f"seeds={seeds}", "settings=[]").runs()
    assert [(run.init_seed, run.data_seed) for run in runs] == pairs


def test_accuracy_is_no_criterion_for_a_task_without_it(mistakes, load):
    over = ("task={name: linear_regression}", "model={name: linear_self_attention}", "settings=[]", "streams={}")
    told = mistakes(GOOD, *over)
    assert told == [
        "s.yaml:15: converged.metric: task linear_regression has no accuracy; use label_excess or label_loss"
    ]
    assert load(GOOD, *over, "converged={at_most: .02}").base.task.name == "linear_regression"
    varied = (
        "settings=[{task: [{name: dictionary_lookup}, {name: linear_regression}],"
        " model: [{name: attention_only}, {name: linear_self_attention}]}]"
    )
    assert mistakes(GOOD, varied, "streams={}") == told
    assert len(load(GOOD, varied, "streams={}", "converged={at_most: .02}").runs()) == 8


def test_a_spec_built_in_python_is_told_its_mistakes_too(load):
    fields = load(GOOD).identity()
    assert SweepSpec(**fields).name == "quickstart"
    with pytest.raises(ValidationError, match="did you mean 'budget'"):
        SweepSpec(**fields, bugdet=3)


def test_a_spec_does_not_change(load):
    spec = load(GOOD)
    with pytest.raises(ValidationError, match="frozen"):
        spec.budget = 3


def test_differences_are_told_field_by_field(load):
    old, new = (
        load(GOOD),
        load(GOOD, "budget=1500", "grid.eval_every=null", "streams={data: 7}", "seeds={together: [0]}"),
    )
    assert diff(old, new) == [
        "streams.init/layer0.query: 0 -> absent",
        "budget: 1200 -> 1500",
        "seeds.together.range: [0, 4] -> absent",
        "seeds.together.step: 1 -> absent",
        "grid.eval_every: 100 -> null",
        "seeds.together: absent -> [0]",
    ]
    assert diff(old.identity(), old) == []


def test_the_sweep_id_leaves_out_what_changes_no_data(load):
    spec = load(GOOD)
    for override in ("description=x", "tracking.mode=online", "resources.width=2"):
        assert load(GOOD, override).sweep_id == spec.sweep_id
    for override in (
        "name=x",
        "budget=1300",
        "seeds={together: [0]}",
        "converged.evaluations=2",
        "snapshots={weights: []}",
    ):
        assert load(GOOD, override).sweep_id != spec.sweep_id


class TestFork:
    def test_runs_are_parents_by_steps_by_seeds(self, load):
        parents = load(GOOD, "snapshots={weights: [100, 200]}").runs()
        spec = load(FORK)
        runs = spec.runs(parents)
        assert len(runs) == len(parents) * 2 * 3
        assert len({run.run_id for run in runs} | {run.run_id for run in parents}) == len(runs) + len(parents)
        first = runs[0]
        assert first.lineage.parent == parents[0].run_id
        assert (first.lineage.step, first.data_seed, first.init_seed, first.optimiser.lr) == (100, 0, 0, 1e-3)
        assert first.lineage.changes == {"optimiser.lr": 1e-3}
        assert [(run.lineage.step, run.data_seed) for run in runs[:6]] == [
            (s, d) for s in (100, 200) for d in (0, 1, 2)
        ]

    def test_a_setting_of_forks_spans_data_seeds_and_parents_of_one_setting(self, load):
        parents = load(GOOD, "settings=[{optimiser.lr: [1e-2, 2e-2]}]").runs()
        runs = load(FORK).runs(parents)
        assert len({run.setting_id for run in runs}) == 4
        streamed = load(FORK, "fork.changes={streams.data: 3}").runs(parents)
        assert len({run.setting_id for run in streamed}) == 4
        again = load(FORK, "fork.changes={streams.data: 4}").runs(parents)
        assert {run.setting_id for run in again} == {run.setting_id for run in streamed}
        assert {run.run_id for run in again}.isdisjoint(run.run_id for run in streamed)

    def test_parents_can_be_named(self, load):
        parents = load(GOOD).runs()
        runs = load(FORK, f"fork.runs=['{parents[3].run_id}']").runs(parents)
        assert {run.lineage.parent for run in runs} == {parents[3].run_id}
        with pytest.raises(ValueError, match="results/quickstart has no run 0123456789abcdef"):
            load(FORK, "fork.runs=['0123456789abcdef']").runs(parents)
        with pytest.raises(ValueError, match="has no run at all"):
            load(FORK).runs()

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ("{model.width: 8}", "model.width: a fork keeps its parent's shapes"),
            ("{model.init_scale: 2}", "model.init_scale: has no effect"),
            ("{streams.init/embedding: 2}", "streams.init/embedding: has no effect"),
            ("{optimiser.lrr: 2}", "optimiser.lrr: unknown path 'optimiser.lrr'; did you mean 'optimiser.lr'"),
            ("{optimiser: {name: sgd, lr: 1}}", "optimiser: a fork keeps"),
            ("{optimiser.lr: -1}", "optimiser.lr: should be greater than 0, given -1"),
            ("{streams.dat: 1}", "streams.dat: unknown stream"),
        ],
    )
    def test_a_change_that_cannot_be_is_told(self, load, changes, message):
        spec = load(FORK, f"fork.changes={changes}")
        with pytest.raises(ValueError, match=r"^fork\.changes of run [0-9a-f]{16}: ") as refused:
            spec.runs(load(GOOD).runs())
        assert f": {message}" in str(refused.value)

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("seeds={together: [0]}", "seeds: has no effect beside fork"),
            ("batch_size=3", "batch_size: has no effect beside fork"),
            ("fork.steps=[70]", "fork.steps[0]: should be a multiple of grid.chunk (50) from 0 to 399, given 70"),
            ("fork.steps=[400]", "fork.steps[0]: should be a multiple of grid.chunk (50) from 0 to 399, given 400"),
            ("fork.steps=[100, 50]", "fork.steps[1]: steps must increase"),
            ("fork.steps=[]", "fork.steps: should have at least 1 item"),
            ("fork.data_seed=[1, 1]", "fork: each data_seed must stand once"),
            (
                "fork.changes={optimizer.lr: 1}",
                "fork.changes.optimizer.lr: unknown section 'optimizer.lr'; did you mean 'optimiser'?",
            ),
            ("fork.runs=some", "fork.runs"),
            ("fork=3", "fork: should be a valid dictionary"),
        ],
    )
    def test_a_wrong_fork_is_told(self, mistakes, override, message):
        told = mistakes(FORK, override)
        assert any(f": {message}" in each for each in told), told

    def test_a_fork_that_changes_nothing_is_refused(self, mistakes):
        assert mistakes(FORK, "fork.data_seed=null", "fork.changes={}") == [
            "s.yaml:2: fork: needs data_seed, changes, or both"
        ]

    def test_a_fork_keeps_its_identity_when_stored(self, load):
        for run in load(FORK, "fork.changes={streams.data: 3, optimiser.lr: 1}").runs(load(GOOD).runs()[:2]):
            again = RunConfig.from_dict(run.as_dict())
            assert (again, again.run_id, again.setting_id) == (run, run.run_id, run.setting_id)
