from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from golden_files import check_file
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from care_mobile.bench.plan import (
    BundleIdentity,
    BurstSize,
    MeasurementPlan,
    balanced_order,
    make_plan,
    measurement_plan_schema,
)

from .conftest import GOLDEN, schema_file, schema_text

BUNDLES = [BundleIdentity(name=name, integrity=name * 64) for name in "abc"]

counts = st.integers(1, 9)
seeds = st.integers(0, 2**32)


@given(count=counts, blocks=st.integers(1, 40), seed=seeds)
def test_every_block_holds_every_bundle_once_and_places_are_balanced(
    count: int, blocks: int, seed: int
) -> None:
    order = balanced_order(count, blocks, seed)
    assert len(order) == blocks
    assert all(sorted(row) == list(range(count)) for row in order)
    for place in range(count):
        uses = Counter(row[place] for row in order)
        assert max(uses.values()) - min(uses[b] for b in range(count)) <= 1


@given(count=st.integers(2, 8), seed=seeds)
def test_every_bundle_follows_every_other_equally_often(count: int, seed: int) -> None:
    whole = count if count % 2 == 0 else 2 * count
    order = balanced_order(count, whole, seed)
    follows = Counter(pair for row in order for pair in pairwise(row))
    assert len(follows) == count * (count - 1)
    assert len(set(follows.values())) == 1


def test_the_seed_decides_the_order() -> None:
    assert balanced_order(4, 8, 1) == balanced_order(4, 8, 1)
    assert len({balanced_order(4, 8, seed) for seed in range(20)}) > 15


@given(latency_ns=st.floats(0, 1e12), least=st.integers(1, 50), extra=st.integers(0, 500))
def test_a_burst_stays_within_its_bounds(latency_ns: float, least: int, extra: int) -> None:
    size = BurstSize(min_iterations=least, max_iterations=least + extra)
    assert least <= size.iterations(latency_ns) <= least + extra


def test_a_burst_fills_its_time() -> None:
    size = BurstSize(block_seconds=0.25, min_iterations=5, max_iterations=500)
    assert size.iterations(2.5e6) == 100
    assert size.iterations(1e9) == 5
    assert size.iterations(1e3) == 500
    assert BurstSize.exactly(20).iterations(1e9) == 20


def test_a_plan_survives_json() -> None:
    plan = make_plan(BUNDLES, blocks=5, affinity=(0, 2), seed=3)
    assert MeasurementPlan.model_validate_json(plan.model_dump_json()) == plan


def test_golden_plan() -> None:
    plan = make_plan(BUNDLES, blocks=6, threads=2, affinity=(0, 1), seed=11)
    check_file(GOLDEN / "v1" / "measurement-plan.json", plan.model_dump_json(indent=1) + "\n")


def test_schema_is_current() -> None:
    check_file(schema_file("measurement-plan-1.json"), schema_text(measurement_plan_schema()))


@pytest.mark.parametrize(
    "change",
    [
        {"blocks": 7},
        {"order": ((0, 1, 1),) * 6},
        {"load_order": (0, 1)},
        {"burst": {"min_iterations": 9, "max_iterations": 8}},
        {"threads": 0},
        {"threads": "2"},
        {"schema_version": 2},
        {"surprise": 1},
        {"pause_seconds": float("inf")},
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(change: dict[str, object]) -> None:
    plan = make_plan(BUNDLES, blocks=6)
    with pytest.raises(ValidationError):
        MeasurementPlan.model_validate({**dict(plan), **change})
