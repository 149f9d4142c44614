"""What is inside a payload that ExecuTorch gave to a backend."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from ..coreml.work import Work
from .results import Layer


@dataclass(frozen=True)
class Weight:
    """One stored array.

    Attributes:
        key: what it is called in its payload; with `shared`, in the whole file.
    """

    dtype: str
    elements: int
    bytes: int
    key: Hashable = None
    shared: bool = False


@dataclass(frozen=True)
class Partition:
    """`layers` are all its operations.

    Attributes:
        parameters: what its weights become; None if they are as many as are stored.
    """

    layers: tuple[Layer, ...]
    weights: tuple[Weight, ...]
    work: Work
    parameters: int | None = None
