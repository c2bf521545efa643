"""A LightningModule of my own.

What it may do is listed in docs/lightning.md. What needs a Trainer (hooks, manual optimisation, several optimisers) is
trained where the sweep file says `trainer: true` beside `module`.
"""

from __future__ import annotations

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional


class MyLightning(lightning.LightningModule):
    """A network with one hidden layer on the embeddings of all positions."""

    # Keywords, for sweep files: `model.width` can be varied, and so can `model.lr`.
    def __init__(
        self, num_tokens: int = 3, length: int = 7, num_classes: int = 2, width: int = 16, lr: float = 3e-3
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Embedding(num_tokens, width),
            nn.Flatten(),
            nn.Linear(length * width, width),
            nn.GELU(),
            nn.Linear(width, num_classes),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """From tokens (B, L) to logits (B, num_classes)."""
        logits: Tensor = self.net(tokens)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The loss of one run's batch."""
        tokens, classes = batch
        return functional.cross_entropy(self(tokens), classes)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Whatever is logged is recorded: `val_loss` as `label_loss`, `val_acc` as `label_accuracy`."""
        tokens, classes = batch
        logits = self(tokens)
        self.log("val_loss", functional.cross_entropy(logits, classes))
        self.log("val_acc", (logits.argmax(1) == classes).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW, Adam or SGD, with at most one scheduler."""
        return torch.optim.AdamW(self.parameters(), lr=self.hparams["lr"])
