from __future__ import annotations

from pathlib import Path

import pytest
from digits.data import Digits, Part, load, write

EXAMPLES = Path(__file__).parents[2] / "examples"
WEIGHTS = EXAMPLES / "digits" / "digits.safetensors"


@pytest.fixture(scope="session")
def held_out() -> Digits:
    return load(Part.HELD_OUT)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as PNGs by part and class."""
    root = tmp_path_factory.mktemp("digits") / "data"
    write(root)
    return root
