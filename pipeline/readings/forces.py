"""Forces: how attention stands towards the skills of a task, and where the loss pushes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from pipeline.models.base import Model
from pipeline.readings.base import Reading, Weights
from pipeline.tasks.base import Task

if TYPE_CHECKING:
    from torch import Tensor


class Forces(Reading):
    """Attention at the targets of every skill in every layer, and minus the loss's gradient by its logits.

    Which layer should have which skill is not declared, so each pair is measured, on the first 32 items of the
    statistics set, in one forward and one backward pass:

    - `lLAYER_SKILL_mass`: attention on the targets; `_gap`: mean logit on them less that elsewhere.
    - `lLAYER_SKILL_push`: -dL/db, b a number added to the logits at the targets of every query; `_contrast`: the mean
      of -dL/dlogit over targets less that elsewhere, per item and query; `_size`: its norm over the targets.
    - `lLAYER_size`: the norm over all logits of a layer. `loss`: on these items.

    Of several heads the largest is given, and the mean as `NAME.mean`.
    """

    name: ClassVar[str] = "forces"

    @classmethod
    def unsuitable(cls, task: Task, model: Model) -> str | None:
        """None for models with softmax attention on tasks that name its targets."""
        from pipeline.readings._skills import lack_of_skills

        return lack_of_skills(task, model)

    def __call__(self, weights: Weights) -> dict[str, Tensor]:
        """`forces.NUMBER` -> (S,) float64."""
        from pipeline.readings._company import in_company

        return in_company(self.name, _forces, weights)


def _forces(weights: Weights) -> Iterator[tuple[str, Tensor]]:
    import torch

    from pipeline.readings._skills import SkillItems, over_heads, total

    items = SkillItems(weights)
    bias = items.no_bias(items.num_heads)
    with torch.enable_grad():
        response = items.respond([one.requires_grad_(True) for one in bias])
        slopes = torch.autograd.grad(response.loss_S.sum(), bias)
    yield "loss", response.loss_S.detach()
    for layer, (map_, slope) in enumerate(zip(response.attention, slopes, strict=True)):
        attention, force = map_.detach(), -slope
        gaps = items.gaps(attention)
        yield from over_heads(f"l{layer}_size", _size(force))
        for skill, targets in items.targets.items():
            name, mask = f"l{layer}_{skill}", targets > 0
            yield from over_heads(f"{name}_mass", total(attention, targets))
            yield from over_heads(f"{name}_gap", gaps[skill])
            yield from over_heads(f"{name}_push", total(force, mask))
            yield from over_heads(f"{name}_contrast", total(force, items.contrasts[skill]) * force.shape[1])
            yield from over_heads(f"{name}_size", _size(force * mask))


def _size(force: Tensor) -> Tensor:
    """(S, H): Euclidean norm over items, queries and keys."""
    size: Tensor = force.square().flatten(3).sum(3).sum(1).sqrt()
    return size
