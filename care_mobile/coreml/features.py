"""Inputs and outputs as a model's interface describes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_COLORS = {10: "grayscale", 20: "RGB", 30: "BGR", 40: "grayscale16"}
_ARRAYS = {65552: "fp16", 65568: "fp32", 65600: "fp64", 131104: "int32", 131080: "int8"}

Bounds = tuple[int, int | None]
"""The smallest and the largest size of an axis; None where there is no largest."""


@dataclass(frozen=True)
class Feature:
    """An input or output as the model's interface describes it.

    Attributes:
        kind: tensor, image, dictionary, ...
        dtype: of a tensor; the colour layout of an image.
        shape: of a tensor; (height, width) of an image: the default where it is flexible. Empty
            when unspecified.
        flexible: whether other shapes are allowed.
        enumerated: all that are allowed, if they are listed.
        bounds: of every axis, if a range is allowed.
    """

    name: str
    kind: str
    dtype: str
    shape: tuple[int, ...]
    flexible: bool = False
    enumerated: tuple[tuple[int, ...], ...] = ()
    bounds: tuple[Bounds, ...] = ()

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether the model says that it takes this shape; of an image, (height, width)."""
        if shape == self.shape or shape in self.enumerated:
            return True
        return len(shape) == len(self.bounds) and all(
            low <= size and (high is None or size <= high)
            for size, (low, high) in zip(shape, self.bounds, strict=True)
        )


def read_feature(message: Any) -> Feature:
    """That of a `FeatureDescription` message."""
    kinds = [f.name.removesuffix("Type") for f, _ in message.type.ListFields() if f.number < 1000]
    if kinds == ["multiArray"]:
        return _array(message.name, "tensor", message.type.multiArrayType)
    if kinds == ["state"]:
        return _array(message.name, "state", message.type.stateType.arrayType)
    if kinds == ["image"]:
        return _image(message.name, message.type.imageType)
    return Feature(message.name, kinds[0] if kinds else "unknown", "", ())


def _array(name: str, kind: str, array: Any) -> Feature:
    return Feature(
        name,
        kind,
        _ARRAYS.get(array.dataType, f"type{array.dataType}"),
        tuple(array.shape),
        array.HasField("enumeratedShapes") or array.HasField("shapeRange"),
        tuple(tuple(shape.shape) for shape in array.enumeratedShapes.shapes),
        tuple(_bounds(sizes) for sizes in array.shapeRange.sizeRanges),
    )


def _image(name: str, image: Any) -> Feature:
    sizes = image.imageSizeRange
    ranged = image.HasField("imageSizeRange")
    return Feature(
        name,
        "image",
        _COLORS.get(image.colorSpace, f"layout{image.colorSpace}"),
        (image.height, image.width),
        ranged or image.HasField("enumeratedSizes"),
        tuple((size.height, size.width) for size in image.enumeratedSizes.sizes),
        (_bounds(sizes.heightRange), _bounds(sizes.widthRange)) if ranged else (),
    )


def _bounds(sizes: Any) -> Bounds:
    return sizes.lowerBound, None if sizes.upperBound < 0 else sizes.upperBound
