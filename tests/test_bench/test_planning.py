from __future__ import annotations

import hashlib
from collections import Counter
from itertools import chain, pairwise
from pathlib import Path

import pytest
from conftest import WriteBundle
from hypothesis import given, settings
from hypothesis import strategies as st

from care_mobile.bench.planning import (
    CellRequest,
    Planned,
    balanced_order,
    make_plan,
    process_groups,
)
from care_mobile.bench.presets import PRESETS, get_preset, spread
from care_mobile.bench.protocol.plan import LoadKind, Phase, Plan
from care_mobile.bundle import Bundle
from care_mobile.errors import UsageError


def planned_of(requests: list[CellRequest], scratch: Path, preset: str = "default") -> Planned:
    return make_plan(
        requests,
        get_preset(preset),
        session="s",
        created="2026-11-26T12:00:00Z",
        seed=7,
        scratch=scratch,
    )


@pytest.fixture
def bundle(write_bundle: WriteBundle) -> Bundle:
    return Bundle.open(write_bundle("a", probed=True))


def request(bundle: Bundle, engine: str = "onnxruntime", threads: int = 1) -> CellRequest:
    return CellRequest(bundle.path, bundle, engine, threads=threads)


def test_a_bundle_that_is_given_twice_lies_at_two_paths(bundle: Bundle, tmp_path: Path) -> None:
    plan = planned_of([request(bundle), request(bundle)], tmp_path).plan
    first, second = plan.cells
    assert first.bundle == second.bundle
    assert first.folder != second.folder
    assert [cell.label for cell in plan.cells] == ["a (1)", "a (2)"]


def test_the_files_are_those_of_the_bundle_with_their_hashes(
    bundle: Bundle, tmp_path: Path
) -> None:
    planned = planned_of([request(bundle)], tmp_path)
    assert {file.path for file in planned.plan.files} == planned.files.keys()
    for file in planned.plan.files:
        content = planned.files[file.path].read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size_bytes, file.sha256)
    (cell,) = planned.plan.cells
    assert cell.model in planned.files
    assert [probe.judged for probe in cell.probes] == [True]


def test_a_bundle_without_probes_gets_noise_that_is_not_judged(
    write_bundle: WriteBundle, tmp_path: Path
) -> None:
    planned = planned_of([request(Bundle.open(write_bundle("old")))], tmp_path)
    (probe,) = planned.plan.cells[0].probes
    assert not probe.judged
    (tensor,) = probe.inputs
    assert planned.files[tensor.path].stat().st_size == 4 * 3 * 8 * 8


def test_labels_tell_cells_of_one_bundle_apart(bundle: Bundle, tmp_path: Path) -> None:
    asked = [request(bundle), request(bundle, threads=2), request(bundle, "torch-eager", 2)]
    labels = [cell.label for cell in planned_of(asked, tmp_path).plan.cells]
    assert labels == [
        "a onnxruntime 1 thread",
        "a onnxruntime 2 threads",
        "a torch-eager 2 threads",
    ]


def test_a_folder_may_be_called_anything(bundle: Bundle, tmp_path: Path) -> None:
    odd = bundle.path.rename(bundle.path.parent / "a\nb\t\x1b[2J\u202e")
    asked = [request(Bundle.open(odd))]
    (cell,) = planned_of(asked, tmp_path).plan.cells
    assert cell.label == cell.bundle.name == "a\\nb\\t\\x1b[2J\\u202e"


def test_cells_of_one_name_are_told_by_their_paths(
    write_bundle: WriteBundle, tmp_path: Path
) -> None:
    paths = [write_bundle("m", path=tmp_path / side / "m") for side in ("base", "head")]
    asked = [request(Bundle.open(path)) for path in paths]
    labels = [cell.label for cell in planned_of(asked, tmp_path).plan.cells]
    assert labels == [str(path) for path in paths]


def test_thread_pools_of_a_process_have_one_size(bundle: Bundle) -> None:
    asked = [
        request(bundle, "executorch", 1),
        request(bundle, "executorch", 2),
        request(bundle, "onnxruntime", 2),
        request(bundle, "onnxruntime", 4),
        request(bundle, "torch-eager", 1),
    ]
    groups = process_groups(asked)
    assert sorted(chain.from_iterable(groups)) == list(range(5))
    for group in groups:
        pooled = {asked[i].threads for i in group if asked[i].engine != "onnxruntime"}
        assert len(pooled) <= 1
    assert process_groups(asked[:1] + asked[2:4]) == [[0, 1, 2]]


def test_rounds_of_their_own_share_a_replicate(bundle: Bundle, tmp_path: Path) -> None:
    asked = [request(bundle, "executorch", 1), request(bundle, "executorch", 2)]
    rounds = planned_of(asked, tmp_path).plan.rounds
    assert len(rounds) == 2 * PRESETS["default"].rounds
    assert Counter(r.replicate for r in rounds) == dict.fromkeys(range(len(rounds) // 2), 2)
    first = [r.cells for r in rounds if r.number % 2 == 0]
    assert Counter(first) == {(0,): len(first) / 2, (1,): len(first) / 2}  # none is always first


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_makes_a_plan(preset: str, bundle: Bundle, tmp_path: Path) -> None:
    plan = planned_of([request(bundle), request(bundle)], tmp_path, preset).plan
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    assert plan.preset == preset
    assert plan.rounds[0].load is LoadKind.FIRST
    assert all(r.load is not LoadKind.FIRST for r in plan.rounds[1:])


def test_thorough_sessions_run_every_phase_and_load_cold(bundle: Bundle, tmp_path: Path) -> None:
    rounds = planned_of([request(bundle)], tmp_path, "thorough").plan.rounds
    counts = Counter(phase for r in rounds for phase in r.phases)
    assert counts == {Phase.BURST: 20, Phase.PACED: 3, Phase.SUSTAINED: 1}
    assert Counter(r.load for r in rounds)[LoadKind.COLD] == 5


def test_mlperf_asks_for_a_minute_and_1024_inferences(bundle: Bundle, tmp_path: Path) -> None:
    plan = planned_of([request(bundle)], tmp_path, "mlperf").plan
    assert plan.sustained is not None
    assert (plan.sustained.duration_ns, plan.sustained.min_count) == (60_000_000_000, 1024)
    assert {r.phases for r in plan.rounds} == {(Phase.SUSTAINED,)}


def test_the_same_request_gives_the_same_plan(bundle: Bundle, tmp_path: Path) -> None:
    asked = [request(bundle)] * 3
    assert planned_of(asked, tmp_path).plan == planned_of(asked, tmp_path).plan


def test_unknown_presets_are_refused() -> None:
    with pytest.raises(UsageError, match="quik"):
        get_preset("quik")


@given(st.integers(0, 50), st.integers(1, 50))
def test_chosen_places_are_spread_evenly(chosen: int, count: int) -> None:
    chosen = min(chosen, count)
    places = [place for place in range(count) if spread(place, chosen, count)]
    assert len(places) == chosen
    gaps = {b - a for a, b in pairwise(places)}
    assert not gaps or max(gaps) - min(gaps) <= 1


@settings(max_examples=50)
@given(st.integers(1, 6), st.integers(1, 24), st.integers(0, 2**31))
def test_orders_are_balanced(count: int, blocks: int, seed: int) -> None:
    rows = balanced_order(count, blocks, seed)
    assert len(rows) == blocks
    assert all(sorted(row) == list(range(count)) for row in rows)
    for place in range(count):
        seen = Counter(row[place] for row in rows)
        assert max(seen.values()) - min(seen.get(i, 0) for i in range(count)) <= 1 + (
            count % 2 == 1
        )


def test_in_a_default_session_two_cells_are_first_equally_often(
    bundle: Bundle, tmp_path: Path
) -> None:
    rounds = planned_of([request(bundle), request(bundle)], tmp_path).plan.rounds
    loads = Counter(found.cells for found in rounds)
    assert loads == dict.fromkeys([(0, 1), (1, 0)], len(rounds) / 2)
    rows = Counter(row for found in rounds for row in found.blocks)
    assert rows == dict.fromkeys([(0, 1), (1, 0)], len(rounds))
