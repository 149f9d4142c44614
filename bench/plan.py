"""What one session measures and how: the same plan for every device and every harness.

The plan holds the order of the bundles in each block, not only the seed it came from, so that a
harness in another language needs no copy of Python's random numbers.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from care_mobile.frozen import Frozen

MAX_BLOCKS = 1000
MAX_ITERATIONS = 100_000
MAX_SECONDS = 86_400.0
MAX_BUNDLES = 10_000
MAX_THREADS = 100_000
MAX_NAME = 255
MAX_NS = 2**63 - 1
"""Of a latency or a time since the start: whatever computes with it has 64 bits."""


class Contract(Frozen):
    """Base of all that travels between this program and a harness: plain, strict, immutable."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class BundleIdentity(Contract):
    """Which bundle: its folder's name and the integrity hash in its manifest."""

    name: str = Field(max_length=MAX_NAME)
    integrity: str


class WarmupRules(Contract):
    """When a bundle counts as warm.

    It is warm once it ran `min_iterations` times or for `min_seconds`, whichever comes first, and
    the medians of its last two windows of `window` iterations agree within `tolerance`. At
    `max_iterations` or `max_seconds` warm-up is given up, which is a warning. Where fewer than
    two windows ran, a window is half of what ran: one inference may take longer than a second.
    """

    window: int = Field(default=10, ge=1, le=MAX_ITERATIONS)
    tolerance: float = Field(default=0.02, gt=0, le=1)
    min_iterations: int = Field(default=20, ge=1, le=MAX_ITERATIONS)
    min_seconds: float = Field(default=1.0, ge=0, le=MAX_SECONDS)
    max_iterations: int = Field(default=5000, ge=1, le=MAX_ITERATIONS)
    max_seconds: float = Field(default=10.0, gt=0, le=MAX_SECONDS)


class BurstSize(Contract):
    """How many inferences make one block of one bundle.

    As many as fit in `block_seconds`, within the two bounds: slow networks do not take for ever,
    fast ones give a steady median. Decided once per bundle, after its warm-up.
    """

    block_seconds: float = Field(default=0.25, gt=0, le=MAX_SECONDS)
    min_iterations: int = Field(default=5, ge=1, le=MAX_ITERATIONS)
    max_iterations: int = Field(default=500, ge=1, le=MAX_ITERATIONS)

    @classmethod
    def exactly(cls, iterations: int) -> BurstSize:
        return cls(min_iterations=iterations, max_iterations=iterations)

    def iterations(self, latency_ns: float) -> int:
        """Inferences per block of a bundle that takes `latency_ns`."""
        fitting = round(self.block_seconds * 1e9 / max(latency_ns, 1.0))
        return min(max(fitting, self.min_iterations), self.max_iterations)


class MeasurementPlan(Contract):
    """What to run, in which order. `order` and `load_order` hold positions in `bundles`.

    `pause_seconds` after each burst lets thread pools that still spin for the last bundle fall
    asleep before the next one runs.
    """

    schema_version: Literal[1] = 1
    mode: Literal["burst"] = "burst"
    bundles: tuple[BundleIdentity, ...] = Field(min_length=1, max_length=MAX_BUNDLES)
    blocks: int = Field(default=10, ge=1, le=MAX_BLOCKS)
    burst: BurstSize = BurstSize()
    warmup: WarmupRules = WarmupRules()
    pause_seconds: float = Field(default=0.02, ge=0, le=MAX_SECONDS)
    threads: int = Field(default=1, ge=1, le=MAX_THREADS)
    affinity: tuple[int, ...] | None = None
    seed: int = 0
    input_seed: int = 0
    load_order: tuple[int, ...]
    order: tuple[tuple[int, ...], ...]

    @model_validator(mode="after")
    def _consistent(self) -> MeasurementPlan:
        everyone = list(range(len(self.bundles)))
        if len(self.order) != self.blocks:
            raise ValueError(f"order has {len(self.order)} blocks, not {self.blocks}")
        if any(sorted(row) != everyone for row in (self.load_order, *self.order)):
            raise ValueError("every block and the load order hold each bundle once")
        if self.burst.min_iterations > self.burst.max_iterations:
            raise ValueError("burst.min_iterations exceeds burst.max_iterations")
        return self


def make_plan(
    bundles: Sequence[BundleIdentity],
    *,
    blocks: int = 10,
    burst: BurstSize | None = None,
    threads: int = 1,
    affinity: tuple[int, ...] | None = None,
    seed: int = 0,
) -> MeasurementPlan:
    """A plan whose order comes from `seed`."""
    return MeasurementPlan(
        bundles=tuple(bundles),
        blocks=blocks,
        burst=burst or BurstSize(),
        threads=threads,
        affinity=affinity,
        seed=seed,
        load_order=balanced_order(len(bundles), 1, seed + 1)[0],
        order=balanced_order(len(bundles), blocks, seed),
    )


def balanced_order(count: int, blocks: int, seed: int) -> tuple[tuple[int, ...], ...]:
    """`blocks` permutations of `range(count)`, shuffled but balanced.

    Each bundle takes each place in a block equally often, or once more or less. Rows come from
    Williams designs, where also each bundle follows each other one equally often, because a
    burst may feel what ran before it: one Latin square for even counts, a square and its mirror
    image for odd ones. Labels and rows are shuffled anew for every square.
    """
    rng = random.Random(seed)  # noqa: S311 - an order, not a secret
    zigzag = [(i + 1) // 2 if i % 2 else (count - i // 2) % count for i in range(count)]
    rows: list[tuple[int, ...]] = []
    labels = list(range(count))
    mirrored = False
    while len(rows) < blocks:
        if not mirrored:
            rng.shuffle(labels)
        shifts = rng.sample(range(count), count)
        square = [tuple(labels[(z + shift) % count] for z in zigzag) for shift in shifts]
        rows += [row[::-1] for row in square] if mirrored else square
        mirrored = count % 2 == 1 and not mirrored
    return tuple(rows[:blocks])


def measurement_plan_schema() -> dict[str, Any]:
    """JSON Schema of the plan."""
    return MeasurementPlan.model_json_schema()
