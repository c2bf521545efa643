"""Optimisers without a C++ form: one of each kind of state and bias correction, and one that none is written for."""

from __future__ import annotations

import torch

from pipeline.optimisers.adamw import AdamW
from pipeline.optimisers.base import Optimiser
from pipeline.optimisers.sgd import SGD
from pipeline.spec.parameters import static, vector


class OwnAdamW(AdamW):
    """The registered one from its torch code."""

    name = "own_adamw"


class OwnSGD(SGD):
    """Likewise."""

    name = "own_sgd"


class OwnLion(Optimiser):
    """Steps of one size, in the sign of a momentum: Chen et al. (2023, arXiv 2302.06675), algorithm 2."""

    name = "own_lion"
    moments = ("exp_avg",)

    beta1: float = vector(0.9, ge=0, lt=1)
    beta2: float = vector(0.99, ge=0, lt=1)
    weight_decay: float = vector(0.1, ge=0)

    def update(self, weights_SP, grad_SP, state, columns):
        mean, beta1, beta2 = state["exp_avg"], columns["beta1"], columns["beta2"]
        direction = (mean * beta1 + grad_SP * (1 - beta1)).sign_()
        weights_SP.mul_(1 - columns["lr"] * columns["weight_decay"]).sub_(direction * columns["lr"])
        mean.mul_(beta2).add_(grad_SP * (1 - beta2))


class SignSGD(Optimiser):
    """The sign of the gradient, no state: Bernstein et al. (2018, arXiv 1802.04434), algorithm 1."""

    name = "sign_sgd"

    def update(self, weights_SP, grad_SP, state, columns):
        weights_SP -= columns["lr"] * torch.sign(grad_SP)


class Adagrad(Optimiser):
    """Sums of squares that never fade, with a rate that falls by the step: Duchi et al. (2011)."""

    name = "adagrad"
    moments = ("squares",)
    scalars = {"updates": 0.0}  # noqa: RUF012

    lr_decay: float = vector(0.1, ge=0)
    eps: float = vector(1e-10, gt=0)

    def update(self, weights_SP, grad_SP, state, columns):
        rate = columns["lr"] / (1 + state["updates"].unsqueeze(-1) * columns["lr_decay"])
        state["updates"] += 1
        state["squares"].addcmul_(grad_SP, grad_SP)
        weights_SP.sub_(rate * grad_SP / (state["squares"].sqrt() + columns["eps"]))


class RMSprop(Optimiser):
    """Centred, with momentum: Graves (2013, arXiv 1308.0850), equations 38 to 45."""

    name = "rmsprop"
    moments = ("mean", "square", "velocity")

    # A word of C++, and the name of one of its states.
    default: float = vector(0.95, ge=0, lt=1)
    velocity: float = vector(0.9, ge=0, lt=1)
    is_centred: bool = static(True)

    def update(self, weights_SP, grad_SP, state, columns):
        kept = columns["default"]
        state["square"].mul_(kept).add_((1 - kept) * grad_SP**2)
        spread = state["square"]
        if self.is_centred:
            state["mean"].lerp_(grad_SP, 1 - kept)
            spread = spread - state["mean"] ** 2
        state["velocity"].mul_(columns["velocity"]).addcdiv_(grad_SP, torch.sqrt(spread.clamp(min=0) + 1e-4))
        weights_SP.sub_(state["velocity"] * columns["lr"])


class AdamByPowers(Optimiser):
    """Adam with the power of its betas by the step, and the largest square so far: Reddi et al. (2018), algorithm 2."""

    name = "adam_by_powers"
    moments = ("exp_avg", "exp_avg_sq", "largest")
    scalars = {"step": 0.0}  # noqa: RUF012

    beta1: float = vector(0.9, ge=0, lt=1)
    beta2: float = vector(0.99, ge=0, lt=1)

    def update(self, weights_SP, grad_SP, state, columns):
        state["step"].add_(1)
        step = state["step"][:, None]
        state["exp_avg"].lerp_(grad_SP, 1 - columns["beta1"])
        state["exp_avg_sq"].copy_(columns["beta2"] * state["exp_avg_sq"] + (1 - columns["beta2"]) * grad_SP.square())
        torch.maximum(state["largest"], state["exp_avg_sq"], out=state["largest"])
        mean = state["exp_avg"] / (1 - columns["beta1"] ** step)
        square = state["largest"] / (1 - torch.pow(columns["beta2"], step))
        weights_SP.add_(-columns["lr"] * mean / (square.sqrt() + 1e-8))


class Bounded(Optimiser):
    """Angles in place of quotients, for weights of either sign apart, with every other update left out."""

    name = "bounded"
    moments = ("mean",)
    scalars = {"updates": 0.0}  # noqa: RUF012

    beta: float = vector(0.9, ge=0, lt=1)

    def update(self, weights_SP, grad_SP, state, columns):
        state["mean"][:] = columns["beta"] * state["mean"] + (1 - columns["beta"]) * grad_SP
        is_odd = (state["updates"] % 2 != 0).unsqueeze(1)
        state["updates"] += 1
        step = torch.where(weights_SP > 0, torch.atan2(state["mean"], grad_SP.abs() + 0.1), state["mean"].tanh())
        step = step.masked_fill(is_odd, 0.0).nan_to_num(0.0)
        torch.add(weights_SP, step * columns["lr"], alpha=-1, out=weights_SP)


class EveryFunction(Optimiser):
    """Functions of two numbers of either sign, of weights and gradients and of numbers of the run."""

    name = "every_function"
    moments = tuple(f"of_weights_{number}" for number in range(16))
    scalars = {f"of_run_{number}": 0.0 for number in range(16)}  # noqa: RUF012

    def update(self, weights_SP, grad_SP, state, columns):
        pairs = (
            (weights_SP, 3 * grad_SP),
            ((columns["lr"] * 1e3).sin().squeeze(1), (columns["lr"] * 2e3).cos().squeeze(1)),
        )
        for (x, y), names in zip(pairs, (self.moments, self.scalars), strict=True):
            for name, value in zip(names, self._values(x, y), strict=True):
                state[name].copy_(value)
        weights_SP.sub_(grad_SP)

    def _values(self, x, y):
        quotients = torch.div(x, y, rounding_mode="floor"), torch.div(5 * x, y, rounding_mode="trunc")
        powers = x.abs() ** y, 2**x, torch.exp2(y), x.abs() ** 1.3, x**3
        logs = x.abs().log2(), y.abs().log10()
        wholes = (9 * x).floor() + (7 * y).ceil(), (9 * x).round() - (5 * y).trunc()
        rests = torch.fmod(x, y), torch.remainder(x, y), x % -0.3
        return *quotients, *powers, *logs, *wholes, *rests, x.atan() + torch.atan2(x, y), x.isnan() | (y / 0).isinf()


class ByNorm(Optimiser):
    """Steps of one length for all weights together: no C++ is written."""

    name = "by_norm"

    def update(self, weights_SP, grad_SP, state, columns):
        length = grad_SP.square().sum(1, keepdim=True).sqrt()
        weights_SP.sub_(grad_SP / (length + 1e-8) * columns["lr"])
