"""Circuits: how embeddings, positions, heads and unembedding compose, read from the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pipeline.models.base import Model
from pipeline.readings.base import Reading, Weights
from pipeline.tasks.base import Task

if TYPE_CHECKING:
    from torch import Tensor


class Circuits(Reading):
    """Norms, composition scores, and means over the entries of composed maps, from the weights alone.

    Of a decoder (`attention_only`, `transformer`; MLPs are left out), with layers l > m, sources `embedding` and
    `position`, and every head or pair of heads, of which the largest number is given, and the mean as `NAME.mean` if
    there are several:

    - `X_norm`: log Frobenius norm of a factor; `X_Y_composition`: log ||A B|| / (||A|| ||B||) (Elhage et al. 2021).
    - `qkL_QUERY_KEY_SKILL`: mean attention logit that the source gives the keys of a skill of the task, less that of
      the other keys of the same queries; `qkL_QUERY_ovM_KEY_SKILL_via_MOVE`: the same of keys into which a head of
      layer m has moved the source, evenly from all positions up to the key's or from the targets of a skill.
    - `qkL_position_position_previous`: mean logit one position back, less that of all earlier ones.
    - `SOURCE_[ovM_][ovL_]unembedding_MOVES`: mean logit of the right class less that of all classes, read from what
      reaches the asked positions.
    - `qkL_[key_ovM_|both_ovM_]ROWS_diagonal|norm|trace`: of the map between tokens, positions or the tokens that ask
      for a skill, the diagonal less the mean; how much the map varies, in logs; their ratio.
      `ROWS_..unembedding_norm`: how much the logits of classes vary over these rows, in logs.

    Of Huang's softmax layer: the features' own and cross bilinear weights. Of linear self-attention: what Proposition 1
    of von Oswald et al. (2023) says of W_K^T W_Q and P W_V. Of any model: the log norm of each parameter and the share
    of its squared norm in its largest rank-one part, but for queries and keys, whose norms depend on a head's basis.
    """

    name: ClassVar[str] = "circuits"

    @classmethod
    def unsuitable(cls, task: Task, model: Model) -> str | None:
        """None: every model has parameters."""
        return None

    def __call__(self, weights: Weights) -> dict[str, Tensor]:
        """`circuits.NUMBER` -> (S,) float64."""
        import torch

        from pipeline.readings._company import in_company
        from pipeline.readings._numbers import circuit_numbers

        with torch.no_grad():
            return in_company(self.name, circuit_numbers, weights)
