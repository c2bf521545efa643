"""Explicit gradient descent on a context, and weights of linear self-attention that carry it out.

Von Oswald et al. (2023, arXiv 2212.07677): one layer of linear self-attention can be one step of gradient descent on
the context's squared error (Proposition 1), and several layers several steps, or steps of GD++, which also transforms
the inputs (their section 4 and appendix A.10). Tokens are (x_j, y_j), the last one the query (x_q, 0).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.models.linear_self_attention import LinearSelfAttention

ContextPredictor = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Descent:
    """Steps of GD++ from zero weights: the step size eta and the curvature gamma of each, numbers or 0-dim tensors.

    Step k changes every token at once, the query too, from what the tokens were before it (their eq. 8 and A.10):
    y_j <- y_j - (eta_k / N) sum_i y_i <x_i, x_j>, and x_j <- x_j - gamma_k sum_i x_i <x_i, x_j>, i over the context.
    Where all gamma are 0 this is plain gradient descent: eta is then its step size on the loss averaged over the
    context. Raises ValueError where the two are not equally many.
    """

    step_sizes: Sequence[float | Tensor]
    curvatures: Sequence[float | Tensor]

    def __post_init__(self) -> None:
        if len(self.step_sizes) != len(self.curvatures):
            raise ValueError(f"{len(self.step_sizes)} step sizes, but {len(self.curvatures)} curvatures")

    @classmethod
    def plain(cls, step_size: float | Tensor, num_steps: int = 1) -> Descent:
        """Equal steps of gradient descent."""
        return cls([step_size] * num_steps, [0.0] * num_steps)

    def path(self, inputs: Tensor) -> Tensor:
        """(steps, B): what is predicted after each step, at the query of each context (B, L, D)."""
        x_BLD, y_BL = inputs[..., :-1], inputs[..., -1]
        num_pairs = inputs.shape[1] - 1
        found = []
        for step_size, curvature in zip(self.step_sizes, self.curvatures, strict=True):
            context_BND = x_BLD[:, :-1]
            similar_BLN = x_BLD @ context_BND.transpose(1, 2)
            y_BL = y_BL - (step_size / num_pairs) * (similar_BLN * y_BL[:, None, :-1]).sum(-1)
            if isinstance(curvature, Tensor) or curvature:
                x_BLD = x_BLD - curvature * (similar_BLN @ context_BND)
            found.append(-y_BL[:, -1])
        return torch.stack(found)

    def __call__(self, inputs: Tensor) -> Tensor:
        """(B,): what is predicted after the last step."""
        return self.path(inputs)[-1]

    def damped(self, damping: float, num_steps: int) -> Descent:
        """The first step again and again, `damping` times as long."""
        return Descent([damping * self.step_sizes[0]] * num_steps, [damping * self.curvatures[0]] * num_steps)


def construction(size: int, num_pairs: int, descent: Descent, start: Tensor | None = None) -> dict[str, Tensor]:
    """Proposition 1: float64 weights of one-head linear self-attention that carry out `descent`, a layer for each step.

    W_K = W_Q = [[I, 0], [0, 0]], P = (eta / N) I, W_V = [[0, 0], [W_0, -I]]; GD++ has -(gamma N / eta) I in place of
    the first 0 of W_V (their A.10, with W_V and P merged). `start` is W_0, (size - 1,), zero where left out; a query's
    last entry must then be -W_0 x_q, and there can be one step only. `size` is that of a token, D. Names are those of
    an untied model's parameters. Raises ValueError for a step size of 0, or a start with several steps.
    """
    if start is not None and len(descent.step_sizes) > 1:
        raise ValueError("with several steps the start must be zero: later layers would add it again")
    found: dict[str, Tensor] = {}
    for layer, (step_size, curvature) in enumerate(zip(descent.step_sizes, descent.curvatures, strict=True)):
        if not step_size:
            raise ValueError("a step size must not be 0")
        key = torch.eye(size, dtype=torch.float64)
        key[-1, -1] = 0.0
        value = -key * (curvature * num_pairs / step_size)
        value[-1, -1] = -1.0
        if start is not None:
            value[-1, :-1] = start
        projection = torch.eye(size, dtype=torch.float64) * (step_size / num_pairs)
        matrices = {"query": key, "key": key.clone(), "value": value, "projection": projection}
        found |= {f"layer{layer}.{name}": matrix for name, matrix in matrices.items()}
    return found


@dataclass(frozen=True)
class Merged:
    """A layer of one-head linear self-attention as merged matrices: W_KQ = W_K^T W_Q and W_PV = P W_V, (D, D) each.

    `scale` is beta, the mean of the entries of W_KQ's diagonal that multiply inputs x (the figures' interpolation).
    """

    key_query: Tensor
    projection_value: Tensor

    @classmethod
    def of(cls, parameters: Mapping[str, Tensor], layer: int = 0) -> Merged:
        """Of the model's parameters, (rows, columns) each."""
        query, key, value, projection = (
            parameters[f"layer{layer}.{name}"] for name in ("query", "key", "value", "projection")
        )
        return cls(key.T @ query, projection @ value)

    @property
    def scale(self) -> Tensor:
        """beta, a 0-dim tensor."""
        return self.key_query.diagonal()[:-1].mean()

    def step_size(self, num_pairs: int) -> Tensor:
        """eta of the gradient step that the layer is nearest to: -N beta times the last entry of W_PV."""
        return -num_pairs * self.scale * self.projection_value[-1, -1]

    def curvature(self) -> Tensor:
        """gamma of the GD++ step that it is nearest to: -beta times the mean diagonal entry of W_PV that moves x."""
        return -self.scale * self.projection_value.diagonal()[:-1].mean()

    def rescaled(self) -> Merged:
        """The same layer with beta = 1."""
        return Merged(self.key_query / self.scale, self.projection_value * self.scale)

    def parameters(self, layer: int = 0) -> dict[str, Tensor]:
        """Model parameters that do the same: W_Q = W_KQ and P = W_PV, W_K and W_V the identity."""
        one = torch.eye(len(self.key_query), dtype=self.key_query.dtype)
        matrices = {"query": self.key_query, "key": one, "value": one, "projection": self.projection_value}
        return {f"layer{layer}.{name}": matrix for name, matrix in matrices.items()}

    def roll_out(self, inputs: Tensor, damping: float, num_times: int) -> Tensor:
        """(num_times, B): predictions at the query, the layer applied again and again, `damping` times its update.

        Only the tokens' last entries move, as in the public code (`y_update`), so that inputs x stay what they are.
        """
        tokens_BLD, found = inputs.clone(), []
        for _ in range(num_times):
            context_BND = tokens_BLD[:, :-1]
            weights_BLN = tokens_BLD @ (context_BND @ self.key_query).transpose(1, 2)
            update_BL = (weights_BLN * (context_BND @ self.projection_value[-1]).unsqueeze(1)).sum(-1)
            last_BL1 = (tokens_BLD[..., -1] + damping * update_BL).unsqueeze(-1)
            tokens_BLD = torch.cat([tokens_BLD[..., :-1], last_BL1], dim=-1)
            found.append(-tokens_BLD[:, -1, -1])
        return torch.stack(found)


def interpolated(one: Merged, other: Merged) -> Merged:
    """The mean of two layers' weights, each rescaled to beta = 1 first, as the figures do with a trained one."""
    one, other = one.rescaled(), other.rescaled()
    return Merged(
        (one.key_query + other.key_query) / 2,
        (one.projection_value + other.projection_value) / 2,
    )


def predictor(model: LinearSelfAttention, parameters: Mapping[str, Tensor]) -> ContextPredictor:
    """(B,) predictions of one run's parameters, (rows, columns) each, on contexts (B, L, D)."""
    together = {name: value.unsqueeze(0) for name, value in parameters.items()}
    return lambda inputs: model.predict(together, inputs.unsqueeze(0))[0, :, 0]


@dataclass(frozen=True)
class Comparison:
    """Two predictors on the same contexts, averaged over them (their fig. 2): what fig. 2 calls Preds diff (mean
    absolute difference of the predictions), Model cos and Model diff (mean cosine, and norm of the difference, of
    d prediction / d x_query).
    """

    prediction_difference: float
    cosine: float
    model_difference: float


def compared(one: ContextPredictor, other: ContextPredictor, inputs: Tensor) -> Comparison:
    """Agreement of two predictors on contexts (B, L, D)."""
    (one_B, one_BD), (other_B, other_BD) = (_sensitivity(found, inputs) for found in (one, other))
    return Comparison(
        float((one_B - other_B).abs().mean()),
        float(torch.cosine_similarity(one_BD, other_BD, dim=-1).mean()),
        float((one_BD - other_BD).norm(dim=-1).mean()),
    )


def _sensitivity(predict: ContextPredictor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions (B,), and their gradients (B, D - 1) by the query's x."""
    with torch.enable_grad():
        leaf = inputs.detach().requires_grad_(True)
        predictions_B = predict(leaf)
        (slope_BLD,) = torch.autograd.grad(predictions_B.sum(), leaf)
    return predictions_B.detach(), slope_BLD[:, -1, :-1]


def half_squared_error(predictions_B: Tensor, targets_B: Tensor) -> Tensor:
    """The loss of the paper's code, averaged over contexts."""
    return 0.5 * (predictions_B - targets_B).square().mean()


def optimal_step_size(inputs: Tensor, targets_B: Tensor) -> float:
    """The step size at which one step of gradient descent has the least loss on these contexts.

    The loss is quadratic in it, so that a line search would end at the quotient that is computed.
    """
    direction_B = Descent.plain(1.0)(inputs)
    return float((direction_B * targets_B).sum() / direction_B.square().sum())


def fitted(
    inputs: Tensor, targets_B: Tensor, num_steps: int, *, is_tied: bool, has_curvature: bool, first: Descent
) -> Descent:
    """The descent of `num_steps` steps with the least loss on these contexts, found from `first` by L-BFGS.

    `is_tied`: all steps are alike. `has_curvature`: GD++, or else plain gradient descent. float64 is needed.
    """
    assert inputs.dtype == torch.float64
    num_free = 1 if is_tied else num_steps
    # In units of where it begins: step sizes are about 6, curvatures 0.1.
    unit_2F = torch.tensor([[float(s) for s in column] for column in (first.step_sizes, first.curvatures)])
    unit_2F = unit_2F.double()[:, :num_free]
    free_2F = torch.ones(2, num_free, dtype=torch.float64, requires_grad=True)

    def descent() -> Descent:
        step_sizes, curvatures = (list(column_F.expand(num_steps)) for column_F in free_2F * unit_2F)
        return Descent(step_sizes, curvatures if has_curvature else [0.0] * num_steps)

    optimiser = torch.optim.LBFGS(
        [free_2F], max_iter=200, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = half_squared_error(descent()(inputs), targets_B)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        found = descent()
    return Descent([float(s) for s in found.step_sizes], [float(c) for c in found.curvatures])
