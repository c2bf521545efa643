"""In-context linear regression with constructed tokens: von Oswald et al. (2023, arXiv 2212.07677), section 3."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from pipeline.spec.parameters import static, vector
from pipeline.tasks.base import Batch, Task, TaskShape, is_needed

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

    from pipeline.tasks.base import Apply, Split, Streams, Vectors

_INPUTS, _TEACHER = range(2)


class LinearRegression(Task):
    """Tokens (x_j, y_j) with y = w x for j = 1..N, then the query (x_q, 0); target: w x_q.

    w ~ N(0, I) and each entry of x ~ U(-a, a), a = `input_range`; the public code of the paper draws from
    U(-0.5, 0.5) where its text says U(-1, 1), and the figures follow the code, so a = 0.5 is the default. Loss:
    half the squared error, the code's choice too. `label_noise` is the standard deviation added to the context y.
    With `num_batches` the training set is that many batches, repeated in order (the code's
    `cycle_data`), so batch_size times as many tasks; the label set then repeats, too, and is made of other tasks.
    """

    name = "linear_regression"
    streams: ClassVar[tuple[str, ...]] = ("data", "label_noise")

    dim: int = static(10, ge=1, le=1024)
    num_pairs: int = static(10, ge=1, le=4096)
    input_range: float = static(0.5, gt=0)
    label_noise: float = vector(0.0, ge=0)
    num_batches: int | None = static(None, ge=1, lt=2**31)

    @classmethod
    def tiny(cls) -> Self:
        """A small instance for tests."""
        return cls(dim=3, num_pairs=4)

    def shape(self) -> TaskShape:
        """Pairs (x, y) as vectors, then the query; target: its y."""
        return TaskShape("vectors", self.num_pairs + 1, self.dim + 1, 1)

    def contraction(self) -> float:
        """C = (N + d - 0.2) / N: E[M M] = C s2^2 I for the scatter matrix M = sum_j x_j x_j^T / N, s2 = Var(x).

        The N (N - 1) products of different pairs give s2^2 each, the N squares s2^2 (d - 1) + E[x^4], and for uniform
        entries E[x^4] = 1.8 s2^2.
        """
        return (self.num_pairs + self.dim - 0.2) / self.num_pairs

    def input_variance(self) -> float:
        """Variance of one entry of x, a^2 / 3."""
        return self.input_range**2 / 3

    def step_size(self) -> float:
        """eta*, at which one gradient step on the loss averaged over a context without label noise does best."""
        return 1 / (self.contraction() * self.input_variance())

    def floor_loss(self) -> float:
        """Expected loss of one gradient step at eta*: s2 d (1 - 1 / C) / 2, the floor of one linear layer."""
        return 0.5 * self.input_variance() * self.dim * (1 - 1 / self.contraction())

    def chance_loss(self) -> float:
        """Expected loss of predicting zero."""
        return 0.5 * self.input_variance() * self.dim

    def sample(self, streams: Streams, vectors: Vectors, dtype: str, split: Split) -> Batch:
        """One teacher w for each example, and its context."""
        import torch

        if self.num_batches is not None:
            again = {name: draws.steps_S % self.num_batches for name, draws in streams.items()}
            streams = {name: replace(draws, steps_S=again[name]) for name, draws in streams.items()}
        draws = streams["data"]
        real = getattr(torch, dtype)
        num_inputs = (self.num_pairs + 1) * self.dim
        x_SBLD = (2 * draws.uniform(num_inputs, _INPUTS, real) - 1).mul_(self.input_range)
        x_SBLD = x_SBLD.view(*x_SBLD.shape[:2], self.num_pairs + 1, self.dim)
        w_SBD1 = draws.normal(self.dim, _TEACHER, real).unsqueeze(-1)
        y_SBL = (x_SBLD * w_SBD1.transpose(2, 3)).sum(-1)
        tokens_SBLD = torch.cat([x_SBLD, y_SBL.unsqueeze(-1)], dim=-1)
        noise_S = vectors.get("label_noise")
        if noise_S is not None and is_needed(noise_S):
            noise_SBN = streams["label_noise"].normal(self.num_pairs, 0, real)
            context_SBN = tokens_SBLD[:, :, :-1, -1]
            noisy_S11 = (noise_S > 0).view(-1, 1, 1)
            context_SBN.copy_(torch.where(noisy_S11, context_SBN + noise_S.view(-1, 1, 1) * noise_SBN, context_SBN))
        tokens_SBLD[:, :, -1, -1] = 0.0
        return Batch(tokens_SBLD, y_SBL[:, :, -1].contiguous())

    def losses(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Half the squared error of each question, (S, B)."""
        return 0.5 * (predictions.squeeze(-1) - targets).square()

    def gradient_step(self, batch: Batch) -> Tensor:
        """The weights (S, B, d) after one step of gradient descent from zero on the context, step size eta*."""
        x_SBND, y_SBN = batch.inputs[:, :, :-1, :-1], batch.inputs[:, :, :-1, -1]
        return (x_SBND * y_SBN.unsqueeze(-1)).sum(2) * (self.step_size() / self.num_pairs)

    def reference_losses(self, batch: Batch) -> Tensor:
        """Losses of one gradient step on the context at the step size eta*."""
        prediction_SB = (self.gradient_step(batch) * batch.inputs[:, :, -1, :-1]).sum(-1)
        return self.losses(prediction_SB.unsqueeze(-1), batch.targets)

    def probes(self, apply: Apply, batch: Batch) -> dict[str, Tensor]:
        """Agreement of the model with the explicit gradient step, averaged over examples (their fig. 2).

        Of d prediction / d x_query and the step's weights, gd_alignment is the cosine and gd_model_difference the norm
        of the difference; gd_prediction_difference is the absolute difference of the predictions.
        """
        import torch

        with torch.enable_grad():
            # The very inputs where they can be, since their predictions are known.
            inputs = batch.inputs if batch.inputs.requires_grad else batch.inputs.detach().requires_grad_(True)
            predictions = apply(inputs)
            (gradient,) = torch.autograd.grad(predictions.sum(), inputs)
        slope_SBD, known = gradient[:, :, -1, :-1], batch._replace(inputs=batch.inputs.detach())
        step_SBD = self.gradient_step(known)
        stepped_SB = (step_SBD * known.inputs[:, :, -1, :-1]).sum(-1)
        return {
            "gd_alignment": torch.cosine_similarity(slope_SBD, step_SBD, dim=-1).mean(1),
            "gd_model_difference": (slope_SBD - step_SBD).norm(dim=-1).mean(1),
            "gd_prediction_difference": (predictions.detach().squeeze(-1) - stepped_SB).abs().mean(1),
        }
