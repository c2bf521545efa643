"""LightningModules as their users write them, for tests that import this file as code of one's own."""

from __future__ import annotations

from pathlib import PurePath
from typing import ClassVar

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torchmetrics.classification import MulticlassAccuracy


class Lit(lightning.LightningModule):
    """A classifier of sequences of tokens, with dropout, batch norm, a metric object and a schedule."""

    def __init__(self, vocab: int = 8, length: int = 9, hidden: int = 6, lr: float = 0.02, dropout: float = 0.25):
        super().__init__()
        self.save_hyperparameters()
        self.embed = nn.Embedding(vocab, hidden)
        self.body = nn.Sequential(nn.Linear(length * hidden, hidden), nn.BatchNorm1d(hidden), nn.Dropout(dropout))
        self.head = nn.Linear(hidden, 4)
        self.val_acc = MulticlassAccuracy(4, average="micro")

    def forward(self, tokens):
        return self.head(self.body(self.embed(tokens).flatten(1)))

    def training_step(self, batch, batch_idx):
        tokens, classes = batch
        loss = functional.cross_entropy(self(tokens), classes) * (1 + 0.01 * self.global_step)
        self.log("train_loss", loss, prog_bar=True)
        return {"loss": loss}

    def validation_step(self, batch, batch_idx):
        tokens, classes = batch
        logits = self(tokens)
        self.val_acc(logits, classes)
        self.log("val_acc", self.val_acc)
        self.log_dict({"val_loss": functional.cross_entropy(logits, classes), "val_size": logits.norm()})

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), self.hparams.lr, weight_decay=0.1)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Bare(lightning.LightningModule):
    """The least that there can be: no validation_step, no metric."""

    def __init__(self, hidden=5):
        super().__init__()
        self.embed, self.head = nn.Embedding(8, hidden), nn.Linear(hidden, 4)

    def training_step(self, batch):
        return functional.cross_entropy(self.head(self.embed(batch[0]).mean(1)), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)


class OneCycle(Bare):
    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), 0.1)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, 20, cycle_momentum=False)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step", "frequency": 2}}


class Manual(Bare):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False


class Hooked(Bare):
    def on_train_epoch_end(self):
        pass

    def on_test_end(self):
        pass


class Epochs(Bare):
    def training_step(self, batch):
        return super().training_step(batch) * self.current_epoch


class WithTrainer(Bare):
    def training_step(self, batch):
        return super().training_step(batch) / self.trainer.max_epochs


class Remembers(Bare):
    def __init__(self):
        super().__init__()
        self.losses = [0.0]

    def training_step(self, batch):
        loss = super().training_step(batch)
        self.losses.append(float(loss))
        return loss + self.losses[-2]


class Recomputing(Bare):
    def training_step(self, batch):
        hidden = checkpoint(lambda tokens: functional.dropout(self.embed(tokens), 0.5), batch[0], use_reentrant=False)
        return functional.cross_entropy(self.head(hidden.mean(1)), batch[1])


class Unsuited(Bare):
    def training_step(self, batch):
        return self.head(batch[0].float()).sum()


class NoLoss(Bare):
    def training_step(self, batch):
        self.log("train_loss", super().training_step(batch))


class OtherName(Bare):
    def validation_step(self, batch, batch_idx):
        self.log("val/ce", self.training_step(batch))


class Open(Bare):
    def __init__(self, sizes=None, model_dim: int = 3):
        super().__init__(5 if sizes is None else sum(sizes))


class Taken(Bare):
    def __init__(self, name="x"):
        super().__init__()


class Gan(lightning.LightningModule):
    """Two networks against each other: manual optimisation, two optimisers and schedulers, noise, batch norm, hooks."""

    def __init__(self, hidden: int = 5, lr: float = 0.01, stops_at: int = 10**6):
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.maker = nn.Sequential(nn.Linear(2, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, 9))
        self.judge = nn.Sequential(nn.Linear(9, hidden), nn.Dropout(0.2), nn.ReLU(), nn.Linear(hidden, 1))
        self.register_buffer("average", torch.zeros(9))

    def made(self, like):
        return self.maker(torch.randn(len(like), 2))

    def training_step(self, batch, batch_idx):
        real = batch[0].float()
        of_maker, of_judge = self.optimizers()
        of_judge.zero_grad()
        loss = functional.softplus(-self.judge(real)) + functional.softplus(self.judge(self.made(real).detach()))
        self.manual_backward(loss.mean())
        of_judge.step()
        of_maker.zero_grad()
        self.manual_backward(functional.softplus(-self.judge(self.made(real))).mean())
        of_maker.step()

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.average.lerp_(self.maker[-1].bias, 0.1)
        self.trainer.should_stop = self.trainer.fit_loop.total_batch_idx + 1 >= self.hparams.stops_at

    def on_train_epoch_end(self):
        for scheduler in self.lr_schedulers():
            scheduler.step()

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", (self.average - batch[0].float().mean(0)).norm())

    def configure_optimizers(self):
        optimisers = [torch.optim.RMSprop(part.parameters(), self.hparams.lr) for part in (self.maker, self.judge)]
        return optimisers, [torch.optim.lr_scheduler.ExponentialLR(each, 0.8) for each in optimisers]


class Called(Bare):
    """Notes the hooks of a Trainer that it sees, and the epoch."""

    calls: ClassVar[list[str]] = []

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.calls.append(f"batch {batch_idx} of epoch {self.current_epoch}")

    def on_train_epoch_end(self):
        self.calls.append("epoch ends")

    def on_train_end(self):
        self.calls.append("ends")

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", super().training_step(batch))

    def configure_optimizers(self):
        return torch.optim.Adagrad(self.parameters(), 0.1, weight_decay=0.01)


class Stopping(Called):
    def configure_callbacks(self):
        return [EarlyStopping("val_loss")]


class Keeping(Called):
    def configure_callbacks(self):
        return [ModelCheckpoint()]


class Unplain(Called):
    def on_save_checkpoint(self, checkpoint):
        checkpoint["place"] = PurePath("x")


class Plateau(Called):
    def configure_optimizers(self):
        optimiser = super().configure_optimizers()
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser)
        return {"optimizer": optimiser, "lr_scheduler": scheduler, "monitor": "val_loss"}


class Breaking(Called):
    def training_step(self, batch, batch_idx):
        if self.global_step == 15 and float(self.embed.weight[0, 0]) > 0:
            raise RuntimeError("cannot go on")
        return super().training_step(batch)


class Groups(Bare):
    """Two groups of other rates and decays, and a schedule."""

    def __init__(self, kind: str = "AdamW"):
        super().__init__()
        self.kind = kind

    def configure_optimizers(self):
        common = {"momentum": 0.8} if self.kind == "SGD" else {"betas": (0.8, 0.95)}
        groups = [
            {"params": [self.embed.weight, self.head.bias], "weight_decay": 0.0, "lr": 0.05},
            {"params": [self.head.weight], "weight_decay": 0.3, "lr": 0.02},
        ]
        optimiser = getattr(torch.optim, self.kind)(groups, **common)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.9)
        return [optimiser], [{"scheduler": scheduler, "interval": "step"}]
