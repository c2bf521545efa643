"""Valid sweep files."""

import pytest
from pydantic import ValidationError

from pipeline.spec.sweep import RunConfig, SweepSpec, diff
from tests.spec.spec_texts import FORK, GOOD, replaced


def test_a_whole_file_becomes_a_spec(load):
    spec = load(GOOD)
    assert spec.base.optimiser.lr == 3e-3
    assert spec.converged.at_least == 0.99
    assert spec.steps(1200).snapshots == {"states": (0, 100, 1200), "weights": (), "attention": ()}
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
    assert spec.steps(1200).snapshots == {"states": (), "weights": (), "attention": ()}
    assert len(spec.runs()) == 1


def test_windows_and_snapshots_at_them_are_steps_at_the_ends_of_chunks(load):
    spec = load(GOOD, "windows=[0, 0.07, 0.5]", "snapshots={weights: windows, attention: [50]}")
    assert spec.steps(1200).windows == ((0.0, 0), (0.07, 50), (0.5, 600))
    assert spec.steps(1200).snapshots == {"states": (), "weights": (0, 50, 600), "attention": (50,)}
    assert load(spec.to_yaml()) == spec
    assert spec.reading_names == ("circuits",)
    assert load(GOOD, "windows=[]").reading_names == load(GOOD, "readings=[]").reading_names == ()


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


def test_overrides_reach_every_field(load):
    spec = load(GOOD, "budget=1500", "optimiser.lr=1e-2", "vary=[]", "streams.init/layer0.query=5", "description=a = b")
    assert (spec.budget, spec.base.optimiser.lr, spec.vary, spec.description) == (1500, 1e-2, (), "a = b")
    assert spec.streams == {"data": 7, "init/layer0.query": 5}


def test_an_override_may_name_a_section_that_the_file_leaves_out(load):
    for left_out in ("", "tracking:"):
        text, _ = replaced("tracking:", left_out)
        assert load(text, "tracking.mode=online").tracking.mode == "online"


def test_zipped_values_move_together_and_a_whole_section_can_be_a_value(load):
    text, _ = replaced("- model", "  - {model.width: [16, 32], batch_size: {range: [32, 65], step: 32}}")
    models = "model: [{name: attention_only}, {name: attention_only, num_heads: 2}]"
    settings = load(text, f"vary=[{{{models}}}, {{model.width: [16, 32], batch_size: {{range: [32, 65], step: 32}}}}]")
    assert [(s.model.num_heads, s.model.width, s.batch_size) for s in settings.expanded_settings] == [
        (1, 16, 32),
        (1, 32, 64),
        (2, 16, 32),
        (2, 32, 64),
    ]


def test_random_settings_depend_on_seed_path_and_place_alone(load):
    def drawn(laws, num, seed):
        spec = load(GOOD, f"vary=[{{random: {{{laws}}}, num: {num}, seed: {seed}}}]")
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
    text = "vary=[{random: {model.head_width: {choice: [2, 4, 8, 16]}, optimiser.lr: {uniform: [1, 2]}}, num: 2000}]"
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
    runs = load(GOOD, f"seeds={seeds}", "vary=[]", "streams={}").runs()
    assert [(run.init_seed, run.data_seed) for run in runs] == pairs


def test_accuracy_is_no_criterion_for_a_task_without_it(mistakes, load):
    over = ("task={name: linear_regression}", "model={name: linear_self_attention}", "vary=[]", "streams={}")
    told = mistakes(GOOD, *over)
    assert told == [
        "s.yaml:15: converged.metric: task linear_regression has no accuracy; use label_excess or label_loss"
    ]
    assert load(GOOD, *over, "converged={at_most: .02}").base.task.name == "linear_regression"
    varied = (
        "vary=[{task: [{name: dictionary_lookup}, {name: linear_regression}],"
        " model: [{name: attention_only}, {name: linear_self_attention}]}]"
    )
    assert mistakes(GOOD, varied, "streams={}") == told
    assert len(load(GOOD, varied, "streams={}", "converged={at_most: .02}").runs()) == 8


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
    for override in ("description=x", "tracking.mode=online", "resources.slots=2"):
        assert load(GOOD, override).sweep_id == spec.sweep_id
    for override in (
        "name=x",
        "budget=1300",
        "seeds={together: [0]}",
        "converged.evaluations=2",
        "snapshots={states: []}",
    ):
        assert load(GOOD, override).sweep_id != spec.sweep_id


class TestFork:
    def test_runs_are_parents_by_steps_by_seeds(self, load):
        parents = load(GOOD, "snapshots={states: [100, 200]}").runs()
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
        parents = load(GOOD, "vary=[{optimiser.lr: [1e-2, 2e-2]}]").runs()
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

    def test_fresh_data_seeds_are_each_parents_own_and_more_of_them_append(self, load):
        parents = load(GOOD).runs()[:3]
        few, many = (load(FORK, f"fork.data_seed={{fresh: {n}}}").runs(parents) for n in (2, 3))
        seeds = [run.data_seed for run in many if run.lineage.step == 100]
        assert len(set(seeds)) == 3 * 3
        assert {run.run_id for run in few} < {run.run_id for run in many}
        assert load(FORK, "fork.data_seed={fresh: 2}").runs(parents[::-1])[-1] == few[3]

    def test_a_change_can_multiply_each_parents_own_number(self, load):
        parents = load(GOOD).runs()
        runs = load(FORK, "fork.changes={optimiser.lr: {times: 4}, batch_size: {times: 0.25}}").runs(parents)
        of = {parent.run_id: parent for parent in parents}
        assert len({run.optimiser.lr for run in runs}) == 3
        assert all(run.optimiser.lr == pytest.approx(4 * of[run.lineage.parent].optimiser.lr) for run in runs)
        assert all((run.batch_size, type(run.batch_size)) == (16, int) for run in runs)
        third = load(FORK, "fork.changes={optimiser.lr: {times: 1.5}}").runs(parents)[0]
        assert third.optimiser.lr == 0.0015, "without the last bits of 1.5 times 0.001"
        plain = load(FORK, "fork.changes={optimiser.lr: 4e-3, batch_size: 16}").runs(parents[:1])
        assert [run.run_id for run in plain] == [run.run_id for run in runs[: len(plain)]]

    def test_forks_are_made_once_with_each_alternative(self, load):
        parents = load(GOOD).runs()[:2]
        other = parents[1].run_id
        taken = {"weights": {"layer0.query": other}}
        text = f"{{weights: {{layer0.query: '{other}'}}}}"
        spec = load(FORK, f"fork.runs=['{parents[0].run_id}']", f"fork.alternatives=[{{}}, {text}, {{batch_size: 16}}]")
        runs = spec.runs(parents)
        shared = {"optimiser.lr": 1e-3}
        assert [run.lineage.changes for run in runs[::6]] == [shared, shared | taken, shared | {"batch_size": 16}]
        assert len({run.run_id for run in runs}) == len(runs) == 3 * 6
        plain = load(FORK, f"fork.runs=['{parents[0].run_id}']").runs(parents)
        assert [run.run_id for run in runs[:6]] == [run.run_id for run in plain]
        assert "alternatives" not in load(FORK).identity()["fork"]
        assert load(spec.to_yaml()).sweep_id == spec.sweep_id != load(FORK).sweep_id

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ("{optimiser.clip: {times: many}}", "optimiser.clip: times needs two numbers, given 1.0 times 'many'"),
            ("{optimiser.lrr: {times: 2}}", "optimiser.lrr: unknown path 'optimiser.lrr'; did you mean"),
            ("{batch_size: {times: 0.3}}", "batch_size: should be a valid integer"),
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
            ("fork.data_seed={fresh: 0}", "fork.data_seed.fresh: should be greater than 0, given 0"),
            ("fork.data_seed=[1, 1]", "fork: each data_seed must occur once"),
            (
                "fork.changes={optimizer.lr: 1}",
                "fork.changes.optimizer.lr: unknown section 'optimizer.lr'; did you mean 'optimiser'?",
            ),
            (
                "fork.changes={weights: 3}",
                "fork.changes.weights: should map names of parameters to ids of runs, such as {layer0.query: "
                "0123456789abcdef}, given 3",
            ),
            ("fork.changes={weights: {}}", "fork.changes.weights: should map names of parameters to ids of runs"),
            (
                "fork.changes={weights: {layer0.query: quickstart}}",
                "fork.changes.weights.layer0.query: should be the id of a run, 16 hex digits, given 'quickstart'",
            ),
            (
                "fork.changes={weights: {layer0.query: 1234567890123456}}",
                "fork.changes.weights.layer0.query: should be the id of a run, 16 hex digits, given 1234567890123456 "
                "(quote it)",
            ),
            (
                "fork.changes={weights.layer0.query: 0123456789abcdef}",
                "fork.changes.weights.layer0.query: give weights as one mapping, weights: {layer0.query: RUN}",
            ),
            ("fork.alternatives=[{batch_size: 3}, {batch_size: 3}]", "fork.alternatives[1]: each of the alternatives"),
            ("fork.alternatives=[{optimiser.lr: 1}]", "fork.alternatives[0].optimiser.lr: stands in fork.changes too"),
            ("fork.alternatives=[{optimizer.lr: 1}]", "fork.alternatives[0].optimizer.lr: unknown section"),
            ("fork.alternatives=[{weights: 3}]", "fork.alternatives[0].weights: should map names of parameters"),
            ("fork.alternatives={batch_size: 3}", "fork.alternatives: should be a valid"),
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
        empty = mistakes(FORK, "fork.data_seed=null", "fork.changes={}", "fork.alternatives=[{batch_size: 3}, {}]")
        assert empty == ["s.yaml:2: fork: needs data_seed, changes, or both"]

    def test_a_fork_keeps_its_identity_when_stored(self, load):
        for run in load(FORK, "fork.changes={streams.data: 3, optimiser.lr: 1}").runs(load(GOOD).runs()[:2]):
            again = RunConfig.from_dict(run.as_dict())
            assert (again, again.run_id, again.setting_id) == (run, run.run_id, run.setting_id)


def test_a_budget_is_given_by_a_factor_and_is_no_part_of_a_run(load):
    plain = load(GOOD)
    text = GOOD.replace("- model.head_width: [4, 3]", "- {model.head_width: [4, 3], budget: [600, 1200]}")
    spec = load(
        text.replace("budget: 1200", "budget: 300").replace("probe_steps: [0, 7, 50, 1000]", "probe_every: 100")
    )
    assert (spec.budget, spec.budgets, spec.expanded_budgets) == (300, (600, 1200), (600,) * 3 + (1200,) * 3)
    assert [run.run_id for run in spec.runs()] == [run.run_id for run in plain.runs()]
    assert {spec.budget_of(run) for run in spec.runs()[:12]} == {600}
    assert {spec.budget_of(run) for run in spec.runs()[12:]} == {1200}
    assert spec.steps(600).windows == ((0.0, 0), (0.1, 50), (0.25, 150), (0.5, 300))
    assert load(spec.to_yaml()).budgets == spec.budgets
    assert (plain.budgets, plain.sweep_id == spec.sweep_id) == ((1200,), False)


def test_an_override_of_a_budget_that_a_factor_gives_is_refused(mistakes):
    text = GOOD.replace("- model.head_width: [4, 3]", "- {model.head_width: [4, 3], budget: [1200, 2400]}")
    (told,) = mistakes(text, "budget=1300")
    assert "budget: has no effect: vary gives its values" in told
