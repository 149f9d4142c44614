"""Padding and cropping."""

from __future__ import annotations

import numpy as np

from ..numerics import AnyArray
from ..registry import Arguments, kernel


@kernel("pad")
def pad(arguments: Arguments) -> AnyArray:
    """`pad` holds before and after for each of the last axes."""
    x = arguments.array("x")
    amounts = arguments.integers("pad")
    if len(amounts) % 2 or len(amounts) > 2 * x.ndim or min(amounts, default=0) < 0:
        raise arguments.fault(f"has the pad {amounts} for an input {x.shape}")
    pairs = list(zip(amounts[::2], amounts[1::2], strict=True))
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs
    mode = arguments.text("mode", "constant")
    if mode == "constant":
        return np.pad(x, widths, constant_values=arguments.number("constant_val", 0.0))
    if mode not in ("reflect", "replicate"):
        raise arguments.fault(f"has the mode {mode!r}, which is not known")
    if any(any(width) for width in widths[:-2]):
        # apple/coremltools #2571 and #2576; which axes, in PR #2701.
        raise arguments.fault(
            f"has the mode {mode!r} before the last two axes of {x.shape}: Core ML does not load it"
        )
    if mode == "replicate":
        if any(max(width) > size for width, size in zip(widths, x.shape, strict=True)):
            raise arguments.fault(f"repeats {amounts} elements of an input {x.shape}")
        return np.pad(x, widths, mode="edge")
    if any(max(width) >= size for width, size in zip(widths, x.shape, strict=True) if any(width)):
        raise arguments.fault(f"reflects {amounts} elements of an input {x.shape}")
    return np.pad(x, widths, mode="reflect")


@kernel("crop")
def crop(arguments: Arguments) -> AnyArray:
    """Cuts (before, after) off the last two axes."""
    x = arguments.array("x")
    cuts = [arguments.integers("crop_height"), arguments.integers("crop_width")]
    for cut, size in zip(cuts, x.shape[-2:], strict=True):
        if len(cut) != 2 or min(cut) < 0 or sum(cut) > size:
            raise arguments.fault(f"cuts {cut} off an axis of {size}")
    (top, bottom), (left, right) = cuts
    height, width = x.shape[-2:]
    return x[..., top : height - bottom, left : width - right]
