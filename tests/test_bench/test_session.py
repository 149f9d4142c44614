from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from care_mobile.bench.record import Outcome, read_record
from care_mobile.bench.session import (
    MeasurementError,
    SessionRequest,
    SessionResult,
    run_session,
)
from care_mobile.errors import BundleError, MissingDependencyError, OutputError, UsageError

from .conftest import MakeBundle


@pytest.fixture
def request_all(tmp_path: Path) -> SessionRequest:
    """All of `tmp_path/bundles` on a scripted device."""
    script = tmp_path / "script.json"
    script.write_text("{}")
    return SessionRequest(
        bundles=(),
        output=tmp_path / "bundles",
        records=tmp_path / "bundles" / "records",
        device=f"scripted={script}",
        blocks=3,
        iterations=2,
        threads=1,
        affinity=None,
        seed=0,
    )


def run(request: SessionRequest) -> SessionResult:
    return run_session(request, lambda progress: None)


def test_all_bundles_of_the_output_folder(
    request_all: SessionRequest, make_bundle: MakeBundle
) -> None:
    paths = [make_bundle(name) for name in ("b", "a", "c")]
    session = run(request_all)
    assert list(session.paths) == sorted(paths)
    assert [read_record(file) for file in session.files] == list(session.records)
    assert {record.session_id for record in session.records} == {session.stamp.session_id}
    assert [record.bundle.name for record in session.records] == ["a", "b", "c"]
    again = run(request_all)
    assert again.stamp.session_id != session.stamp.session_id
    assert len(again.records) == 3


def test_two_bundles_of_one_name_and_one_twice(
    request_all: SessionRequest, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    old = make_bundle("x", folder=tmp_path / "old")
    new = make_bundle("x", folder=tmp_path / "new", side=16)
    session = run(replace(request_all, bundles=(old, new, old)))
    assert len(set(session.files)) == 3
    assert [record.bundle_index for record in session.records] == [0, 1, 2]
    assert len({record.bundle.integrity for record in session.records}) == 2


def test_the_current_folder_has_a_name(
    request_all: SessionRequest, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_bundle("here"))
    session = run(replace(request_all, bundles=(Path(),)))
    assert session.records[0].bundle.name == "here"


def test_bundles_that_cannot_run_here_are_skipped(
    request_all: SessionRequest, make_bundle: MakeBundle
) -> None:
    odd = make_bundle("odd", runtime="abacus")
    make_bundle("real", layers=1)
    session = run(replace(request_all, device="desktop"))
    assert [record.bundle.name for record in session.records] == ["real"]
    assert [(s.path, s.reason.detail) for s in session.skipped] == [
        (odd, "unknown runtime 'abacus'")
    ]


def test_a_pattern_may_name_bundles_that_cannot_run_here(
    request_all: SessionRequest, make_bundle: MakeBundle
) -> None:
    """`care-bench bundles/*` names Core ML's too, which only a Mac runs."""
    odd, real = make_bundle("odd", runtime="abacus"), make_bundle("real", layers=1)
    session = run(replace(request_all, device="desktop", bundles=(odd, real)))
    assert [record.bundle.name for record in session.records] == ["real"]
    assert [skipped.path for skipped in session.skipped] == [odd]


@pytest.mark.parametrize("named", [False, True])
def test_nothing_left_to_measure(
    request_all: SessionRequest, make_bundle: MakeBundle, named: bool
) -> None:
    odd = make_bundle("odd", runtime="abacus")
    request = replace(request_all, device="desktop", bundles=(odd,) if named else ())
    with pytest.raises(MissingDependencyError, match="cannot run on desktop: unknown runtime"):
        run(request)
    assert not request.records.exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"blocks": 0}, "--blocks 0"),
        ({"blocks": 1001}, "--blocks 1001"),
        ({"iterations": 0}, "--iterations 0"),
        ({"threads": 0}, "--threads 0"),
        ({"bundles": (Path("nowhere"),)}, "no folder nowhere"),
        ({"output": Path("nowhere")}, "no folder nowhere"),
        ({"device": "toaster"}, "unknown device"),
    ],
)
def test_requests_that_make_no_sense(
    request_all: SessionRequest,
    make_bundle: MakeBundle,
    change: dict[str, object],
    says: str,
) -> None:
    make_bundle("a")
    with pytest.raises(UsageError, match=says):
        run(replace(request_all, **change))  # type: ignore[arg-type]


def test_an_empty_folder(request_all: SessionRequest) -> None:
    request_all.output.mkdir()
    with pytest.raises(UsageError, match="no bundles in"):
        run(request_all)


def test_broken_bundles(request_all: SessionRequest, make_bundle: MakeBundle) -> None:
    path = make_bundle("a")
    (path / "model.onnx").write_bytes(b"tampered")
    with pytest.raises(BundleError, match="not the file"):
        run(request_all)
    with pytest.raises(BundleError, match="not a bundle"):
        run(replace(request_all, bundles=(path.parent,)))


def test_records_that_cannot_be_written_are_known_before_measuring(
    request_all: SessionRequest, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    make_bundle("a")
    (tmp_path / "file").write_text("")
    called: list[object] = []
    with pytest.raises(OutputError) as caught:
        run_session(replace(request_all, records=tmp_path / "file"), called.append)
    assert caught.value.hint == "choose another --records"
    assert called == []


def test_failures_are_recorded_and_then_an_error(
    request_all: SessionRequest, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    make_bundle("a")
    make_bundle("b")
    script = tmp_path / "script.json"
    script.write_text('{"events": [{"kind": "fail", "block": 1, "bundle": "b"}]}')
    session = run(request_all)
    assert [read_record(file).outcome for file in session.files] == [
        Outcome.COMPLETED,
        Outcome.FAILED,
    ]
    with pytest.raises(MeasurementError, match="1 of 2") as caught:
        session.check()
    assert caught.value.exit_code == 5


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cannot pin processes here")
def test_an_interrupt_leaves_no_record_and_no_affinity(
    request_all: SessionRequest, make_bundle: MakeBundle
) -> None:
    make_bundle("real", layers=1)
    before = os.sched_getaffinity(0)

    def interrupt(progress: object) -> None:
        raise KeyboardInterrupt

    request = replace(request_all, device="desktop", affinity=(max(before),))
    with pytest.raises(KeyboardInterrupt):
        run_session(request, interrupt)
    assert not request.records.exists()
    assert os.sched_getaffinity(0) == before
