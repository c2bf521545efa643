"""A task of my own.

What a task must do is listed in the docstring of `pipeline.tasks.base.Task`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pipeline.spec.parameters import static
from pipeline.tasks.base import Batch, Task, TaskShape

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.tasks.base import Split, Streams, Vectors


class MyTask(Task):
    """Tokens of several kinds; the answer, asked at the last position, is the kind of the first."""

    name = "my_task"

    # Parameters, for sweep files. One that fixes a shape is `static`; a number that may differ between runs `vector`.
    num_tokens: int = static(8, ge=2, le=4096)
    num_kinds: int = static(4, ge=2, le=4096)

    def shape(self) -> TaskShape:
        """Kinds of token as inputs, and as classes to choose from."""
        return TaskShape("tokens", length=self.num_tokens, size=self.num_kinds, num_outputs=self.num_kinds)

    def floor_loss(self) -> float:
        """0: the first token is there to be seen. Convergence is measured from `chance_loss` to here."""
        return 0.0

    def chance_loss(self) -> float:
        """Cross entropy (nats) of the best prediction that does not look at the first token: the uniform one."""
        return math.log(self.num_kinds)

    def sample(self, streams: Streams, vectors: Vectors, dtype: str, split: Split) -> Batch:
        """Tokens (S, B, L) for S runs, and the answers (S, B).

        All random numbers come from `streams`; each draw of one step takes a `substream` number of its own. `split` is
        "train", "label" or "probe", whose streams differ, so a task that draws every example afresh can ignore it.
        """
        tokens_SBL = streams["data"].integers(self.num_kinds, self.num_tokens, substream=0)
        return Batch(tokens_SBL, tokens_SBL[:, :, 0])

    def losses(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy (nats) of every answer, (S, B), from logits (S, B, num_outputs)."""
        return -predictions.log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)

    def correct(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """1 where the most probable class is the answer, else 0. Leave it out where nothing is right or wrong."""
        return (predictions.argmax(-1) == targets).to(predictions.dtype)

    def attention_targets(self, batch: Batch) -> dict[str, Tensor]:
        """Where heads should look, recorded per head as `first_token_score`: the last position at the first."""
        import torch

        mask = torch.zeros((*batch.inputs.shape, self.num_tokens), dtype=torch.bool, device=batch.inputs.device)
        mask[..., -1, 0] = True
        return {"first_token_score": mask}
