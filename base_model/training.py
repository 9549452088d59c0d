"""One loop for all trainings: a budget of minutes, a schedule over it, checkpoints, and resumption.

A budget counts the minutes spent in the loop, over all runs of a stage together. The learning rate depends on the share
of the budget that is spent, so a stage that was cut short and resumed ends with the same decay. Since the number of
steps depends on the machine, two trainings are equal in recipe and seed but not bit for bit.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Generator, Tensor, nn
from torch.optim import AdamW, Optimizer

from base_model.muon import Muon

CHECKPOINT_SECONDS = 180
LOG_STEPS = 100
CLIP_NORM = 1.0


@dataclass(frozen=True)
class Schedule:
    """Learning rate as a share of its peak: linear warm-up over steps, constant, then linear to `floor`.

    Attributes:
        warmup_steps: Steps of the rise from zero.
        decay_from: Share of the budget after which it falls.
        floor: Share of the peak at the end.
    """

    warmup_steps: int
    decay_from: float
    floor: float = 0.01

    def share(self, step: int, spent: float) -> float:
        """The share of the peak for a step, when `spent` (0 to 1) of the budget is used."""
        falling = min(1.0, max(0.0, 1 - spent) / max(1e-9, 1 - self.decay_from))
        return min(1.0, (step + 1) / self.warmup_steps) * max(self.floor, falling)


@dataclass
class Training:
    """What a stage trains, and how.

    Attributes:
        modules: Everything that is trained; also what the checkpoint keeps.
        optimizers: Each group of them has its own peak in `lr`.
        schedule: Scales all peaks alike.
        minutes: The budget.
        checkpoint: File to resume from.
        seed: Of the generator that the loss draws from.
        ema_decay: Of the running average of weights; None for none.
        average: That running average, once the training has begun.
        spent: Share of the budget that is used, 0 to 1.
    """

    modules: nn.ModuleDict
    optimizers: list[Optimizer]
    schedule: Schedule
    minutes: float
    checkpoint: Path
    seed: int
    ema_decay: float | None = None
    average: nn.ModuleDict | None = field(default=None, init=False)
    spent: float = field(default=0.0, init=False)

    def run(self, loss_of: Callable[[Generator], Tensor], log: Callable[[str], None] = print) -> nn.ModuleDict:
        """Train until the budget is spent.

        Args:
            loss_of: Draws a batch with the generator and returns its scalar loss.
            log: Receives a line now and then.

        Returns:
            The averaged modules if there is an average, else the modules themselves; in evaluation mode.
        """
        state = self._start()
        saved_at, began, smooth = time.monotonic(), time.monotonic() - state["seconds"], None
        while (seconds := time.monotonic() - began) < self.minutes * 60:
            self.spent = seconds / (self.minutes * 60)
            self._set_rates(state["step"])
            loss = loss_of(state["generator"])
            loss.backward()
            self._apply(state["step"])
            state["step"] += 1
            smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
            if state["step"] % LOG_STEPS == 0:
                log(f"step {state['step']}  {seconds:.0f} s of {self.minutes * 60:.0f}  loss {smooth:.4f}")
            if time.monotonic() - saved_at > CHECKPOINT_SECONDS:
                saved_at = time.monotonic()
                self._save(state | {"seconds": saved_at - began})
        self._save(state | {"seconds": self.minutes * 60})
        return (self.average or self.modules).eval()

    def _start(self) -> dict:
        self._peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        if self.ema_decay is not None:
            self.average = copy.deepcopy(self.modules).eval().requires_grad_(False)
        device = next(self.modules.parameters()).device
        generator = Generator().manual_seed(self.seed)
        state = {"step": 0, "seconds": 0.0, "generator": generator}
        if self.checkpoint.exists():
            kept = torch.load(self.checkpoint, map_location=device, weights_only=True)
            self.modules.load_state_dict(kept["modules"])
            if self.average is not None:
                self.average.load_state_dict(kept["average"])
            for optimizer, saved in zip(self.optimizers, kept["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            generator.set_state(kept["generator"].cpu())
            state |= {"step": kept["step"], "seconds": kept["seconds"]}
        self.modules.train()
        return state

    def _set_rates(self, step: int) -> None:
        share = self.schedule.share(step, self.spent)
        for optimizer, peaks in zip(self.optimizers, self._peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * share

    def _apply(self, step: int) -> None:
        nn.utils.clip_grad_norm_(self.modules.parameters(), CLIP_NORM)
        for optimizer in self.optimizers:
            optimizer.step()
        for parameter in self.modules.parameters():
            parameter.grad = None
        if self.average is not None and self.ema_decay is not None:
            # A young average forgets fast, or it would still hold the first weights at the end of a short budget.
            keep = min(self.ema_decay, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(list(self.average.parameters()), list(self.modules.parameters()), 1 - keep)

    def _save(self, state: dict) -> None:
        kept = {
            "modules": self.modules.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "generator": state["generator"].get_state(),
            "step": state["step"],
            "seconds": state["seconds"],
        }
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(kept, partial)
        os.replace(partial, self.checkpoint)


def matrix_optimizers(
    groups: Iterable[tuple[nn.Module, float]], excluded: Callable[[str], bool], weight_decay: float = 1e-2
) -> list[Optimizer]:
    """Muon for the weights that act as matrices, AdamW for everything else, one group of each a module.

    Args:
        groups: Modules with their peak learning rates.
        excluded: Whether a parameter's name belongs to AdamW although it has two or more dimensions.
        weight_decay: Of both.
    """
    for_muon, for_adam = [], []
    for module, lr in groups:
        named = [(name, weight) for name, weight in module.named_parameters() if weight.requires_grad]
        matrices = [weight for name, weight in named if weight.ndim >= 2 and not excluded(name)]
        others = [weight for name, weight in named if weight.ndim < 2 or excluded(name)]
        for_muon.append({"params": matrices, "lr": lr})
        for_adam.append({"params": others, "lr": lr})
    return [
        Muon(for_muon, lr=0.0, weight_decay=weight_decay),
        AdamW(for_adam, lr=0.0, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True),
    ]


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 where matrices are multiplied; weights and optimizers stay float32."""
    return torch.autocast(device.type, torch.bfloat16)


def pick_device(name: str) -> torch.device:
    """Turn a name into a device; "auto" is a GPU if there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
