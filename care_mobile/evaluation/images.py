"""Images from elsewhere, decoded with care: any of them may be damaged or hostile."""

from __future__ import annotations

import warnings
from pathlib import Path

from ..inputs import Array, Preprocessing

# Decoders of pixels only: Pillow's reader of EPS would run Ghostscript.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_MODES = frozenset(
    {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr"}
)
MAX_PIXELS = 100_000_000
MAX_ASPECT = 64


class UnreadableImage(Exception):
    """An image that cannot be evaluated, with the reason in one line."""


def read_image(path: Path, preprocessing: Preprocessing) -> Array:
    """The image as the network takes it, (1, C, H, W).

    Raises:
        UnreadableImage: for a file that is no image, is damaged, or is out of reason.
    """
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on sizes that are checked here, and damaged metadata
        try:
            with Image.open(path, formats=_FORMATS) as image:
                _check(image.width, image.height, image.mode)
                return preprocessing.from_image(image)
        except UnreadableImage:
            raise
        except UnidentifiedImageError:
            raise UnreadableImage("not an image of a kind that is read here") from None
        except OSError as error:
            raise UnreadableImage(_line(error.strerror or str(error))) from error
        except Exception as error:  # decoders raise anything on damaged files
            raise UnreadableImage(_line(f"damaged: {type(error).__name__}: {error}")) from error


def _check(width: int, height: int, mode: str) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableImage(f"{width}x{height} px, more than {MAX_PIXELS // 10**6} megapixels")
    if max(width, height) > MAX_ASPECT * min(width, height):
        # Its shorter side is enlarged to the network's, and the longer one with it.
        raise UnreadableImage(f"{width}x{height} px, longer than {MAX_ASPECT} to 1")
    if mode not in _MODES:
        raise UnreadableImage(f"pixels of mode {mode}, which 8 bits would clip")


def _line(text: str) -> str:
    return " ".join(text.split())[:200]
