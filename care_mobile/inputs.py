"""What a network eats: resolution, preprocessing, real photos and probe inputs. No torch here.

Images are NCHW float32 arrays. A value in *normalised* space is x = (p - mean) / std with the
pixel p in 0..1; a bundle may take p, 255 p or x (`InputRange`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from enum import Enum
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from .errors import MissingDependencyError, UsageError
from .frozen import Frozen, Name

if TYPE_CHECKING:
    from PIL.Image import Image

Array = NDArray[np.float32]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CROP_FRACTION = 224 / 256
"""Share of the resized image that the centre crop keeps: the authors' 256 -> 224."""
MAX_SIDE = 4096
MAX_CHANNELS = 4096
_PIXEL_SLACK = 1e-5
"""Rounding of a pixel in 0..1."""


class InputRange(str, Enum):
    """Values a bundle expects."""

    BYTE = "0..255"
    UNIT = "0..1"
    NORMALIZED = "normalized"


class Resolution(Frozen):
    """Width and height of the network's input in pixels."""

    width: int = Field(ge=1, le=MAX_SIDE)
    height: int = Field(ge=1, le=MAX_SIDE)

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @classmethod
    def parse(cls, text: str) -> Resolution:
        """`224` or `WIDTHxHEIGHT`.

        Raises:
            UsageError: if the text is neither or a side is out of range.
        """
        found = re.fullmatch(r"([+-]?\d{1,9})(?:[xX]([+-]?\d{1,9}))?", text.strip())
        if not found:
            raise UsageError(f"resolution {text!r} is not a size", "write 224 or WIDTHxHEIGHT")
        width = int(found[1])
        height = int(found[2] or width)
        if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
            raise UsageError(
                f"resolution {text!r} is out of range", f"sides go from 1 to {MAX_SIDE} pixels"
            )
        return cls(width=width, height=height)


class Preprocessing(Frozen):
    """From an image file to the network's input: resize, centre crop, scale, normalise.

    `mean` and `std` are per channel, for pixels in 0..1. `input_range` says which of these steps
    the bundle leaves to the caller.
    """

    resolution: Resolution
    input_range: InputRange = InputRange.NORMALIZED
    mean: tuple[float, ...] = Field(IMAGENET_MEAN, max_length=MAX_CHANNELS)
    std: tuple[float, ...] = Field(IMAGENET_STD, max_length=MAX_CHANNELS)
    interpolation: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = (
        "bicubic"
    )
    crop_fraction: float = Field(CROP_FRACTION, ge=0.01, le=1.0)
    color: Name = "RGB"

    @model_validator(mode="after")
    def _consistent(self) -> Preprocessing:
        if len(self.mean) != len(self.std) or not self.mean:
            raise ValueError("mean and std need one value per channel")
        if not all(math.isfinite(value) for value in (*self.mean, *self.std)):
            raise ValueError("mean and std must be finite")
        if any(s <= 0 for s in self.std):
            raise ValueError("std must be positive")
        return self

    @property
    def channels(self) -> int:
        return len(self.mean)

    def affine(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(scale, shift) per channel with x = scale * u + shift, u in the input range."""
        if self.input_range is InputRange.NORMALIZED:
            return (1.0,) * self.channels, (0.0,) * self.channels
        unit = 255.0 if self.input_range is InputRange.BYTE else 1.0
        scale = tuple(1.0 / (unit * s) for s in self.std)
        return scale, tuple(-m / s for m, s in zip(self.mean, self.std, strict=True))

    def normalize(self, u: Array) -> NDArray[np.float64]:
        """The network's own input x for values u in the input range, (N, C, H, W), float64."""
        scale, shift = (_column(v) for v in self.affine())
        return u.astype(np.float64) * scale + shift

    def denormalize(self, x: NDArray[Any]) -> Array:
        """Values u in the input range whose normalised form is x."""
        scale, shift = (_column(v) for v in self.affine())
        return ((x - shift) / scale).astype(np.float32)

    def from_pixels(self, p: NDArray[Any]) -> Array:
        """Values in the input range of pixels p in 0..1, (N, C, H, W)."""
        return self.denormalize((p - _column(self.mean)) / _column(self.std))

    def holds_pixels(self, u: Array) -> bool:
        """Whether values u in the input range are what pixels can be."""
        pixels = self.normalize(u) * _column(self.std) + _column(self.mean)
        return bool(np.all((pixels > -_PIXEL_SLACK) & (pixels < 1.0 + _PIXEL_SLACK)))

    def from_image(self, image: Image) -> Array:
        """One image as (1, C, H, W) in the input range."""
        from PIL import Image as pil

        width, height = self.resolution.width, self.resolution.height
        ratio = max(width / image.width, height / image.height) / self.crop_fraction
        size = (
            # Cut off, as torchvision does; a trace more, so that 255.999... is 256.
            max(width, math.floor(image.width * ratio + 1e-6)),
            max(height, math.floor(image.height * ratio + 1e-6)),
        )
        mode = "L" if self.channels == 1 else "RGB"
        resized = image.convert(mode).resize(size, pil.Resampling[self.interpolation.upper()])
        left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
        pixels = np.asarray(resized.crop((left, top, left + width, top + height)), np.float64)
        planes = pixels.reshape(height, width, -1).transpose(2, 0, 1)
        channels = np.resize(planes, (self.channels, height, width)) / 255.0
        if self.input_range is InputRange.BYTE:
            return (channels[None] * 255.0).astype(np.float32)
        if self.input_range is InputRange.UNIT:
            return channels[None].astype(np.float32)
        return ((channels[None] - _column(self.mean)) / _column(self.std)).astype(np.float32)


def _column(values: Sequence[float]) -> NDArray[np.float64]:
    return np.asarray(values, np.float64)[:, None, None]


@cache
def sample_photos() -> tuple[Image, ...]:
    """The two photographs scikit-learn carries (china.jpg, flower.jpg), as RGB images.

    Raises:
        MissingDependencyError: without scikit-learn.
    """
    from PIL import Image as pil

    # Found, not imported: importing scikit-learn takes two seconds, and the files are all we need.
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise MissingDependencyError(
            "scikit-learn, whose photos serve as probes, is not installed",
            "pip install 'care-mobile[export]'",
        )
    folder = Path(package.origin).parent / "datasets" / "images"
    return tuple(pil.open(folder / name).convert("RGB") for name in ("china.jpg", "flower.jpg"))


def probe_sets(preprocessing: Preprocessing, seed: int = 0) -> dict[str, Array]:
    """Named stacks of inputs (n, C, H, W) in the input range, to compare two networks on.

    `seeded` is noise of unit variance in normalised space, `photos` two real photographs,
    `zeros` and `constant` have no texture, `large-range` is 30 times the usual amplitude.
    """
    shape = (
        preprocessing.channels,
        preprocessing.resolution.height,
        preprocessing.resolution.width,
    )
    rng = np.random.default_rng(seed)
    photos = [preprocessing.from_image(photo) for photo in sample_photos()]
    noise = rng.standard_normal((4, *shape))
    flat = np.stack([np.full(shape, 1.0), np.full(shape, -1.0)])
    return {
        "seeded": preprocessing.denormalize(noise),
        "photos": np.concatenate(photos),
        "zeros": np.zeros((1, *shape), np.float32),
        "constant": preprocessing.denormalize(flat),
        "large-range": preprocessing.denormalize(30.0 * rng.standard_normal((2, *shape))),
    }


def pixel_probe_sets(preprocessing: Preprocessing, seed: int = 0) -> dict[str, Array]:
    """Stand-ins, by name, that stay within the range of pixels, for networks that check it.

    `seeded` is noise over the whole range, `constant` two shades of grey, `tiny-denominator`
    almost flat.
    """
    size = preprocessing.resolution
    shape = (preprocessing.channels, size.height, size.width)
    rng = np.random.default_rng(seed)
    almost = 0.5 + 1e-3 * rng.uniform(-1.0, 1.0, (1, *shape))
    pixels = {
        "seeded": rng.uniform(0.0, 1.0, (4, *shape)),
        "zeros": np.broadcast_to(np.clip(_column(preprocessing.mean), 0.0, 1.0), (1, *shape)),
        "constant": np.stack([np.full(shape, 0.25), np.full(shape, 0.75)]),
        "tiny-denominator": almost,
    }
    return {name: preprocessing.from_pixels(stack) for name, stack in pixels.items()}
