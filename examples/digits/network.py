"""The network: a CARE with every kind of block and few channels, 0.23 million parameters.

As `--model`, from the folder above this one: `digits.network:digits`, with `--in-channels 1`.
"""

from __future__ import annotations

from care_mobile.inputs import Preprocessing, Resolution
from care_mobile.models.care import CARE, StageConfig

CLASSES = tuple("0123456789")
STAGES = (
    StageConfig(1, 8, 8, (2, 2), None),
    StageConfig(1, 8, 8, (2, 2), None),
    StageConfig(2, 16, 16, (2, 2), 8),
    StageConfig(2, 24, 24, (2, 2), 12),
)
PREPROCESSING = Preprocessing(
    # Attention over 16 and 4 positions in the last two stages; 32 px would leave one in the last.
    resolution=Resolution(width=64, height=64),
    mean=(0.5,),
    std=(0.5,),
    color="L",
)
"""What `care-export` takes for one channel: grey, values -1 to 1, centre crop of 7/8."""


def digits(num_classes: int = len(CLASSES), in_channels: int = 1, drop_path: float = 0.0) -> CARE:
    """The network, freshly initialised: (B, 1, 64, 64) -> logits (B, 10)."""
    return CARE(STAGES, num_classes, in_channels, drop_path=drop_path)
