"""The workloads of the benchmark, each as numbers that any implementation can read and as a sweep of seedbed's."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.spec.run_config import RunConfig
    from pipeline.spec.sweep import SweepSpec

_EXCESS = 0.02


@dataclass(frozen=True)
class Matrix:
    """A parameter of `rows` x `columns`, entries N(0, std^2); `is_truncated` at two standard deviations."""

    rows: int
    columns: int
    std: float
    is_truncated: bool = False


@dataclass(frozen=True)
class Regression:
    """In-context linear regression: `num_pairs` tokens (x, w x), then a query; target: a real value."""

    dim: int = 10
    num_pairs: int = 10
    input_range: float = 0.5

    @property
    def length(self) -> int:
        """Positions of a sequence."""
        return self.num_pairs + 1

    def describe(self) -> str:
        """The task or model in words, with its sizes."""
        return f"in-context linear regression, {self.num_pairs} pairs in {self.dim} dimensions"

    def section(self) -> dict[str, Any]:
        """Its section of a sweep file."""
        return {"name": "linear_regression", **asdict(self)}


@dataclass(frozen=True)
class Lookup:
    """In-context dictionary lookup: `num_pairs` keys with their values, then one of the keys; target: its value."""

    num_keys: int
    num_values: int
    num_pairs: int

    asks_everywhere = False

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        return self.num_keys + self.num_values

    @property
    def length(self) -> int:
        """Positions of a sequence."""
        return 2 * self.num_pairs + 1

    @property
    def num_outputs(self) -> int:
        """Number of classes."""
        return self.num_values

    def describe(self) -> str:
        """The task or model in words, with its sizes."""
        sizes = f"{self.num_pairs} pairs of {self.num_keys} keys and {self.num_values} values"
        return f"in-context dictionary lookup, {sizes}; loss at the last position"

    def section(self) -> dict[str, Any]:
        """Its section of a sweep file."""
        return {"name": "dictionary_lookup", **asdict(self)}


@dataclass(frozen=True)
class Repeated:
    """`period` random tokens, then the same once more; target at every position: the next, the first after the last."""

    num_tokens: int = 32
    period: int = 16

    asks_everywhere = True

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        return self.num_tokens

    @property
    def length(self) -> int:
        """Positions of a sequence."""
        return 2 * self.period

    @property
    def num_outputs(self) -> int:
        """Number of classes."""
        return self.num_tokens

    def describe(self) -> str:
        """The task or model in words, with its sizes."""
        return f"{self.period} of {self.num_tokens} tokens, then the same again; loss at every position"

    def section(self) -> dict[str, Any]:
        """Its section of a sweep file."""
        return {"name": "repeated_sequence", **asdict(self)}


@dataclass(frozen=True)
class LinearAttention:
    """One layer of linear self-attention with square matrices."""

    init_variance: float = 0.002

    def describe(self) -> str:
        """The task or model in words, with its sizes."""
        return "one layer of linear self-attention"

    def section(self) -> dict[str, Any]:
        """Its section of a sweep file."""
        return {"name": "linear_self_attention", **asdict(self)}

    def matrices(self, task: Regression) -> dict[str, Matrix]:
        """The model's parameters, by the names that Seedbed gives them."""
        size = task.dim + 1
        matrix = Matrix(size, size, (self.init_variance / size) ** 0.5, is_truncated=True)
        return {f"layer0.{name}": matrix for name in ("query", "key", "value", "projection")}


@dataclass(frozen=True)
class Decoder:
    """A pre-norm causal transformer without biases or affine norms; `mlp_width` 0 leaves the MLPs out."""

    width: int
    head_width: int
    num_heads: int = 1
    num_layers: int = 2
    mlp_width: int = 0

    @property
    def inner(self) -> int:
        """Width of all heads together."""
        return self.num_heads * self.head_width

    def describe(self) -> str:
        """The task or model in words, with its sizes."""
        heads = f"{self.num_heads} {'head' if self.num_heads == 1 else 'heads'} of {self.head_width}"
        mlps = f"MLPs of {self.mlp_width}" if self.mlp_width else "no MLPs"
        return f"causal transformer, {self.num_layers} layers, width {self.width}, {heads}, {mlps}"

    def section(self) -> dict[str, Any]:
        """Its section of a sweep file."""
        if self.mlp_width:
            return {"name": "transformer", **asdict(self)}
        return {"name": "attention_only", **{name: size for name, size in asdict(self).items() if name != "mlp_width"}}

    def matrices(self, task: Lookup | Repeated) -> dict[str, Matrix]:
        """The model's parameters, by the names that Seedbed gives them."""

        def mixing(rows: int, columns: int) -> Matrix:
            return Matrix(rows, columns, rows**-0.5)

        found = {
            "embedding": Matrix(task.vocabulary, self.width, 0.5),
            "position": Matrix(task.length, self.width, 0.5),
        }
        for layer in range(self.num_layers):
            prefix = f"layer{layer}."
            found |= {prefix + name: mixing(self.width, self.inner) for name in ("query", "key", "value")}
            found[prefix + "output"] = mixing(self.inner, self.width)
            if self.mlp_width:
                found[prefix + "up"] = mixing(self.width, self.mlp_width)
                found[prefix + "down"] = mixing(self.mlp_width, self.width)
        return found | {"unembedding": mixing(self.width, task.num_outputs)}


@dataclass(frozen=True)
class Adam:
    """`clip` limits the norm of a run's gradient; None never does."""

    lr: float
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip: float | None = None

    def section(self) -> dict[str, Any]:
        """Its section of a sweep file."""
        return {"name": "adamw", **asdict(self)}


@dataclass(frozen=True)
class RegressionWorkload:
    """What one run trains on, and how; runs of a workload differ by seed alone."""

    name: str
    task: Regression
    model: LinearAttention
    optimiser: Adam
    batch_size: int

    def matrices(self) -> dict[str, Matrix]:
        """The model's parameters, by the names that seedbed gives them."""
        return self.model.matrices(self.task)


@dataclass(frozen=True)
class TokenWorkload:
    """The same, on tokens."""

    name: str
    task: Lookup | Repeated
    model: Decoder
    optimiser: Adam
    batch_size: int

    def matrices(self) -> dict[str, Matrix]:
        """The model's parameters, by the names that Seedbed gives them."""
        return self.model.matrices(self.task)


Workload = RegressionWorkload | TokenWorkload


def spec_of(workload: Workload, num_runs: int, **changes: Any) -> SweepSpec:
    """The sweep of seeds 0..num_runs-1 of a workload, evaluated every 100 steps; `changes` replace whole sections."""
    from pipeline.spec.sweep import SweepSpec

    data: dict[str, Any] = {
        "name": workload.name,
        "task": workload.task.section(),
        "model": workload.model.section(),
        "optimiser": workload.optimiser.section(),
        "batch_size": workload.batch_size,
        "budget": 1400,
        "seeds": {"together": {"range": [0, num_runs]}},
        "grid": {"chunk": 50, "eval_every": 100, "eval_items": 512},
        "converged": {"metric": "label_excess", "at_most": _EXCESS, "evaluations": 2},
        "stopping": {"name": "after_convergence", "evaluations": 2},
        "tracking": {"mode": "disabled"},
    }
    return SweepSpec.model_validate(data | changes)


def converged_loss(workload: Workload) -> float:
    """The label loss at which the excess is that of the criterion: 0.02 of the way from the floor to chance."""
    task = configs_of(workload, 1)[0].task
    return task.floor_loss() + _EXCESS * (task.chance_loss() - task.floor_loss())


def configs_of(workload: Workload, num_runs: int) -> list[RunConfig]:
    """The first `num_runs` runs of a workload's sweep."""
    return spec_of(workload, num_runs).runs()


_LOOKUP_ADAM = Adam(lr=3e-3, beta2=0.98, clip=1.0)
_MLP_ADAM = Adam(lr=1e-3, beta2=0.98, clip=1.0)
_MLP = Decoder(width=64, head_width=16, num_heads=4, mlp_width=256)

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        RegressionWorkload("lsa_256", Regression(), LinearAttention(), Adam(lr=1e-3), 256),
        RegressionWorkload("lsa_2048", Regression(), LinearAttention(), Adam(lr=1e-3), 2048),
        TokenWorkload("lookup_a", Lookup(8, 8, 8), Decoder(width=16, head_width=4), _LOOKUP_ADAM, 64),
        TokenWorkload("lookup_b", Lookup(16, 16, 12), Decoder(width=24, head_width=4), _LOOKUP_ADAM, 64),
        TokenWorkload("mlp_last", Lookup(16, 16, 16), _MLP, _MLP_ADAM, 64),
        TokenWorkload("mlp_all", Repeated(32, 16), _MLP, _MLP_ADAM, 64),
    )
}


def workload_table() -> list[str]:
    """Lines of a Markdown table: what each workload trains, and how large it is."""
    lines = ["| workload | task | model | parameters | batch |", "|---|---|---|---|---|"]
    for name, workload in WORKLOADS.items():
        size = sum(matrix.rows * matrix.columns for matrix in workload.matrices().values())
        task, model = workload.task.describe(), workload.model.describe()
        lines.append(f"| {name} | {task} | {model} | {size:,} | {workload.batch_size} |")
    return lines
