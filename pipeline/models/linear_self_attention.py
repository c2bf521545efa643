"""The linear self-attention layer of von Oswald et al. (2023, arXiv 2212.07677)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from pipeline.models.base import Model, Output, ParameterSpec
from pipeline.native.source import Native
from pipeline.parameters import static
from pipeline.tasks.base import Interface

if TYPE_CHECKING:
    from torch import Tensor


class LinearSelfAttention(Model):
    """e_j <- e_j + P V K^T W_Q e_j, without softmax, biases, norms or scaling (their eq. 2); square matrices.

    Keys and values exclude the query token, which stands last. The prediction is minus the last entry of the last
    token (their section 3). Init as in the public code, whose figures are the paper's: truncated normal with variance
    0.002 / D (0.0135 for D = 11), where the text says 0.002. Tied layers share one set of matrices.
    """

    name = "linear_self_attention"
    accepts: ClassVar[tuple[str, ...]] = ("vectors",)
    has_softmax: ClassVar[bool] = False

    num_layers: int = static(1, ge=1, le=256)
    is_tied: bool = static(False)
    init_variance: float = static(0.002, gt=0)

    def native(self) -> Native | None:
        return Native("linear_self_attention.h") if self.num_layers == 1 else None

    def parameter_specs(self, interface: Interface) -> tuple[ParameterSpec, ...]:
        return tuple(self._specs(interface.size))

    def _specs(self, size: int) -> Iterator[ParameterSpec]:
        std = (self.init_variance / size) ** 0.5
        for layer in range(1 if self.is_tied else self.num_layers):
            for matrix in ("query", "key", "value", "projection"):
                yield ParameterSpec(f"layer{layer}.{matrix}", size, size, std, "truncated_normal")

    def forward(
        self, parameters: Mapping[str, Tensor], inputs: Tensor, with_attention: bool = False, num_targets: int = 1
    ) -> Output:
        import torch

        from pipeline.products import product

        num_slots, num_examples, _, size = inputs.shape
        tokens = inputs
        maps = []
        for layer in range(self.num_layers):
            prefix = f"layer{0 if self.is_tied else layer}."

            def project(matrix: str, of: Tensor, prefix: str = prefix) -> Tensor:
                # Weights act from the left in the paper, on column tokens; tokens are rows here.
                moved = product(of.reshape(num_slots, -1, size), parameters[prefix + matrix].transpose(1, 2))
                return moved.view(num_slots, num_examples, -1, size)

            context = tokens[:, :, :-1]
            query, key, value = project("query", tokens), project("key", context), project("value", context)
            weights_SBLN = product(query, key.transpose(-1, -2))
            tokens = tokens + project("projection", product(weights_SBLN, value))
            maps.append(torch.nn.functional.pad(weights_SBLN, (0, 1)).unsqueeze(2))
        return Output(-tokens[:, :, -1, -1:], tuple(maps) if with_attention else ())

    def predict(self, parameters: Mapping[str, Tensor], inputs: Tensor, num_targets: int = 1) -> Tensor:
        """One layer: the query's last entry alone, -p V K^T W_Q e_q = -sum_j (p W_V e_j) (e_j W_K^T W_Q e_q).

        p is the last row of P. The query's own last entry is 0, and no 11 x 11 product of an example is formed.
        """
        from pipeline.products import product

        if self.num_layers > 1:
            return self.forward(parameters, inputs).predictions
        query, key, value, projection = (
            parameters[f"layer0.{name}"] for name in ("query", "key", "value", "projection")
        )
        num_slots, num_examples, _, size = inputs.shape
        context, last = inputs[:, :, :-1], inputs[:, :, -1]
        looked_for_SBD = product(last, product(query.transpose(1, 2), key))
        weights_SBN = product(context, looked_for_SBD.unsqueeze(-1)).squeeze(-1)
        readout_SD1 = product(projection[:, -1:], value).transpose(1, 2)
        values_SBN = product(context.reshape(num_slots, -1, size), readout_SD1).view(num_slots, num_examples, -1)
        return -(last[..., -1:] + (weights_SBN * values_SBN).sum(-1, keepdim=True))
