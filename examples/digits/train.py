"""Train the network on the digits: `python -m digits.train --output digits.safetensors`.

Settings were chosen on the validation part (`--validate`: train without it, report on it). The
weights that ship are trained on both parts, then measured on the held-out part, once.
One thread and a fixed seed: the same machine and torch give the same file.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from care_mobile.models.care import CARE

from .data import Digits, Part, inputs, load
from .network import digits

EPOCHS = 90
BATCH = 64
RATE = 3e-3
WARM_UP = 0.05
"""Share of the steps in which the rate rises."""
WEIGHT_DECAY = 0.05
SMOOTHING = 0.1
DROP_PATH = 0.05
ROTATION, SHEAR, SCALE, SHIFT = 12.0, 0.15, 0.12, 0.12
"""Augmentation: largest angle in degrees, shear, relative size; shift in halves of the side."""


def train(part: Digits, epochs: int, seed: int) -> CARE:
    """A network in evaluation mode, trained on `part`."""
    from rich.progress import track

    torch.manual_seed(seed)
    images, labels = torch.from_numpy(inputs(part.images)), torch.from_numpy(part.labels)
    model = digits(drop_path=DROP_PATH)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(_groups(model), lr=RATE)
    batches = len(images) // BATCH
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: _rate(i, epochs * batches))
    for _ in track(range(epochs), description="training"):
        order = torch.randperm(len(images))
        for chosen in order[: batches * BATCH].split(BATCH):
            x = _augment(images[chosen]).contiguous(memory_format=torch.channels_last)
            loss = sum(
                F.cross_entropy(logits, labels[chosen], label_smoothing=SMOOTHING)
                for logits in model(x)
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[union-attr]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return model.eval()


def _groups(model: nn.Module) -> list[dict[str, object]]:
    """Weight decay for matrices and kernels, none for biases, norms and layer scales."""
    decayed = [p for p in model.parameters() if p.dim() > 1]
    other = [p for p in model.parameters() if p.dim() <= 1]
    return [
        {"params": decayed, "weight_decay": WEIGHT_DECAY},
        {"params": other, "weight_decay": 0.0},
    ]


def _rate(step: int, steps: int) -> float:
    """Linear rise, then half a cosine to zero."""
    done = (step + 1) / steps
    if done < WARM_UP:
        return done / WARM_UP
    return 0.5 * (1.0 + math.cos(math.pi * (done - WARM_UP) / (1.0 - WARM_UP)))


def _augment(x: Tensor) -> Tensor:
    """A random affine map per image (B, 1, H, W); what comes in from outside is background."""

    def uniform(limit: float) -> Tensor:
        return limit * (2.0 * torch.rand(len(x)) - 1.0)

    angle, shear, scale = uniform(math.radians(ROTATION)), uniform(SHEAR), 1.0 + uniform(SCALE)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = (cos, shear - sin, uniform(SHIFT), sin, cos, uniform(SHIFT))
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(x.shape), align_corners=False)
    # Black is -1 after normalisation, and grid_sample pads with zeros.
    return F.grid_sample(x + 1.0, grid, align_corners=False) - 1.0


@torch.no_grad()
def correct(model: nn.Module, part: Digits) -> int:
    """How many of `part` the network gets right."""
    batches = torch.from_numpy(inputs(part.images)).split(100)
    found = torch.cat([model(batch).argmax(1) for batch in batches])
    return int((found == torch.from_numpy(part.labels)).sum())


def main() -> None:
    """Entry point of `python -m digits.train`."""
    parser = argparse.ArgumentParser(description="Train a small CARE on 4,000 digits.")
    parser.add_argument("--output", type=Path, default=Path("digits.safetensors"))
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--validate", action="store_true", help="keep the validation part out; write nothing"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    started = time.monotonic()
    parts = (Part.TRAINING,) if options.validate else (Part.TRAINING, Part.VALIDATION)
    model = train(load(*parts), options.epochs, options.seed)
    if not options.validate:
        save_file(
            {name: value.contiguous() for name, value in model.state_dict().items()},
            options.output,
        )
    judged = load(Part.VALIDATION if options.validate else Part.HELD_OUT)
    right, count = correct(model, judged), len(judged.labels)
    name = "validation" if options.validate else "held-out"
    seconds = time.monotonic() - started
    print(f"{name}: {right} of {count} right ({right / count:.1%}); {seconds:.0f} s")


if __name__ == "__main__":
    main()
