"""A LightningModule as any Trainer takes it: a convolutional network with batch norm and dropout, for images."""

from __future__ import annotations

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional


class DigitsNet(lightning.LightningModule):
    """Two convolutions with batch norm, dropout, and a linear readout, on images (B, 1, 8, 8)."""

    def __init__(self, channels: int = 8, dropout: float = 0.3, lr: float = 3e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr = lr
        self.net = nn.Sequential(
            nn.Conv2d(1, channels, 3, stride=2, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(8 * channels, 10),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 10)."""
        logits: Tensor = self.net(images)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Cross entropy."""
        images, digits = batch
        return functional.cross_entropy(self(images), digits)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Logs cross entropy and accuracy."""
        images, digits = batch
        logits = self(images)
        self.log("val_loss", functional.cross_entropy(logits, digits))
        self.log("val_acc", (logits.argmax(1) == digits).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=self.lr)
