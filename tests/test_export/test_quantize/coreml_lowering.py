"""A network lowered to Core ML in some precision, and how far its results are off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from converted import eager
from torch import Tensor, nn

from care_mobile.agreement import psnr_db
from care_mobile.coreml import MLPackage, open_package
from care_mobile.export.capture import capture, input_spec, output_specs
from care_mobile.export.targets import Lowered, LowerJob, Options, Variant
from care_mobile.export.targets.coreml import MODEL_FILE, CoreMLTarget
from care_mobile.inputs import Preprocessing, Resolution
from care_mobile.quiet import quiet
from care_mobile.runtimes.interpreter import Interpreter

Array = np.ndarray
SIDE = 32


class Convolutions(nn.Module):
    """Two layers that read one value, one layer too small to compress, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 32, 3, stride=2)
        self.left = nn.Conv2d(32, 96, 1)
        self.right = nn.Conv2d(32, 96, 1)
        self.fc = nn.Linear(96, 100)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.fc((self.left(x) * self.right(x)).mean((2, 3)))


def images(count: int = 4, side: int = SIDE) -> Array:
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, 3, side, side)).astype(np.float32)


def lower(
    network: nn.Module,
    folder: Path,
    precision: str,
    ios: int = 17,
    keep_float: tuple[str, ...] = (),
    calibration: Array | None = None,
    side: int = SIDE,
) -> tuple[Lowered, MLPackage]:
    """The network's file, in `folder`, which may be new."""
    folder.mkdir(exist_ok=True)
    about = Preprocessing(resolution=Resolution(width=side, height=side))
    file = folder / "calibration.npz"
    if calibration is not None:
        np.savez(file, images=calibration)
    program = capture(network, about, Variant())
    job = LowerJob(
        model="network",
        precision=precision,
        inputs=(input_spec(about, Variant(), image=False),),
        outputs=output_specs(program, Variant()),
        preprocessing=about,
        weights="random:0",
        options=Options(min_ios=ios),
        keep_float=keep_float,
        calibration=file if calibration is not None else None,
    )
    with quiet():
        lowered = CoreMLTarget().lower(program, job, folder)
    return lowered, open_package(folder / MODEL_FILE)


def agreement_db(network: nn.Module, package: MLPackage, inputs: Array) -> float:
    """PSNR of the interpreter's results against the network in float64."""
    interpreter = Interpreter(package)
    (name,) = package.main.outputs
    want = np.concatenate([eager(network, image[None]) for image in inputs])
    have = [interpreter.run({"image": image[None]})[name] for image in inputs]
    return psnr_db(want, np.concatenate(have).astype(np.float64))


def kinds(package: MLPackage, operator: str) -> int:
    return sum(operation.type == operator for operation in package.main.operations)
