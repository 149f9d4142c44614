"""The last operator of a classifier."""

from __future__ import annotations

import numpy as np

from ..registry import Arguments, kernel


@kernel("classify")
def classify(arguments: Arguments) -> tuple[str | int, dict[str | int, float]]:
    """(label of the highest probability, probability of every label)."""
    probabilities = arguments.array("probabilities").ravel()
    labels = [np.asarray(label).item() for label in arguments.array("classes")]
    if len(labels) != probabilities.size:
        raise arguments.fault(f"has {len(labels)} classes for {probabilities.size} probabilities")
    scores = dict(zip(labels, probabilities.tolist(), strict=True))
    return labels[int(np.argmax(probabilities))], scores
