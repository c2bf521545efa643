"""Interventions: what the loss and later attention become when attention is clamped to the targets of skills."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import permutations
from typing import TYPE_CHECKING, ClassVar

from pipeline.models.base import Model
from pipeline.readings.base import Reading, Weights
from pipeline.tasks.base import Task

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.readings._skills import Response, SkillItems

# Added to the logits at the targets: attention to one target among sixteen keys rises from 1/16 to 0.78.
CLAMP = 4.0


class Interventions(Reading):
    """Losses with attention clamped to skills, and what a clamp does to the attention of later layers.

    A clamp adds 4 to the logits at the targets of every query of a skill, in all heads of a layer. Which layer should
    have which skill is not declared, so each pair is tried, on the first 32 items of the statistics set:

    - `loss_everywhere`: with every skill clamped in every layer; `loss_l0_SKILL_lLAST_OTHER`: with one skill in the
      first layer and another in the last. They need no fit: the lower, the sooner a run converges, where the skills
      that the task names are those that solve it, in these layers.
    - `loss_lLAYER_SKILL`: with one clamp alone. `gap_lLAYER_SKILL_lLATER_OTHER`: how much it raises the mean logit of a
      later layer at the targets of a skill over that elsewhere (of several heads the largest; the mean as `NAME.mean`).
    """

    name: ClassVar[str] = "interventions"

    @classmethod
    def unsuitable(cls, task: Task, model: Model) -> str | None:
        """None for models with softmax attention on tasks that name its targets."""
        from pipeline.readings._skills import lack_of_skills

        return lack_of_skills(task, model)

    def __call__(self, weights: Weights) -> dict[str, Tensor]:
        """`interventions.NUMBER` -> (S,) float64."""
        import torch

        from pipeline.readings._company import in_company

        with torch.no_grad():
            return in_company(self.name, _interventions, weights)


def _interventions(weights: Weights) -> Iterator[tuple[str, Tensor]]:
    from pipeline.readings._skills import SkillItems

    items = SkillItems(weights)
    free = items.respond()
    last, skills = items.num_layers - 1, list(items.masks)
    everywhere = [(layer, skill) for layer in range(items.num_layers) for skill in skills]
    yield "loss_everywhere", _clamped(items, everywhere).loss_S
    for first, other in permutations(skills, 2) if last else ():
        yield f"loss_l0_{first}_l{last}_{other}", _clamped(items, [(0, first), (last, other)]).loss_S
    for layer, skill in everywhere:
        response = _clamped(items, [(layer, skill)])
        yield f"loss_l{layer}_{skill}", response.loss_S
        yield from _raised(items, f"l{layer}_{skill}", range(layer + 1, items.num_layers), free, response)


def _clamped(items: SkillItems, places: Iterable[tuple[int, str]]) -> Response:
    """With attention clamped to the targets of these skills in these layers."""
    bias = items.no_bias()
    for layer, skill in places:
        bias[layer] = bias[layer] + CLAMP * items.masks[skill].unsqueeze(2)
    return items.respond(bias)


def _raised(
    items: SkillItems, clamp: str, layers: Iterable[int], free: Response, clamped: Response
) -> Iterator[tuple[str, Tensor]]:
    """By how much a clamp raises the gaps of later layers."""
    from pipeline.readings._skills import over_heads

    for later in layers:
        before, after = (items.gaps(response.attention[later]) for response in (free, clamped))
        for skill in items.masks:
            yield from over_heads(f"gap_{clamp}_l{later}_{skill}", after[skill] - before[skill])
