from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from care_mobile.bundle import Bundle
from care_mobile.errors import MissingDependencyError
from care_mobile.runtimes import RuntimeOptions, get_runtime
from care_mobile.runtimes.coreml import _as_image

RUNTIME = get_runtime("coreml")


@pytest.mark.skipif(sys.platform == "darwin", reason="usable there")
def test_not_usable_here_with_the_reason(write_bundle: Callable[..., Path]) -> None:
    found = RUNTIME.availability()
    assert not found.usable
    assert "macOS only" in found.detail
    assert "Mac" in found.remedy
    bundle = Bundle.open(write_bundle(runtime="coreml"))
    with pytest.raises(MissingDependencyError, match="macOS only") as caught:
        RUNTIME.load(bundle, RuntimeOptions())
    assert caught.value.exit_code == 5
    assert "Mac" in caught.value.hint


def test_on_a_mac_it_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("care_mobile.requirements.version", lambda name: "9.0")
    assert RUNTIME.availability().usable
    monkeypatch.setattr("care_mobile.requirements.version", lambda name: None)
    found = RUNTIME.availability()
    assert not found.usable
    assert "care-mobile[export]" in found.remedy


def test_image_inputs_become_pictures() -> None:
    pixels = np.zeros((1, 3, 2, 4), np.float32)
    pixels[0, :, 1, 3] = 254.6, 300.0, -5.0
    image = _as_image(pixels)
    assert (image.mode, image.size) == ("RGB", (4, 2))
    assert image.getpixel((3, 1)) == (255, 255, 0)
    assert image.getpixel((0, 0)) == (0, 0, 0)
    assert _as_image(pixels[:, :1]).mode == "L"
