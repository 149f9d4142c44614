from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from care_mobile.bench.devices import DesktopDevice, Device, get_device
from care_mobile.bench.devices.desktop import check_cpus
from care_mobile.bench.devices.host import usable_cpus
from care_mobile.bench.environment import ComputeUnit
from care_mobile.bench.record import Outcome, RunRecord, WarningCode
from care_mobile.bench.runner import Progress
from care_mobile.bundle import Bundle
from care_mobile.errors import UsageError

from .conftest import STAMP, MakeBundle, plan_for

needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system cannot pin processes"
)


@pytest.fixture
def device() -> Iterator[DesktopDevice]:
    found = DesktopDevice()
    yield found
    found.close()


@pytest.fixture
def bundles(make_bundle: MakeBundle) -> list[Bundle]:
    small = make_bundle("small", layers=1)
    large = make_bundle("large", layers=40, side=96)
    return [Bundle.open(small), Bundle.open(large)]


def run(
    device: Device, bundles: list[Bundle], affinity: tuple[int, ...] | None = None
) -> list[RunRecord]:
    plan = plan_for(bundles).model_copy(update={"affinity": affinity})
    device.prepare(plan, bundles)
    return device.measure(STAMP, lambda progress: None)


def test_real_bundles_are_measured(device: DesktopDevice, bundles: list[Bundle]) -> None:
    small, large = run(device, bundles)
    assert [r.outcome for r in (small, large)] == [Outcome.COMPLETED] * 2
    assert len(small.samples_ns) == len(large.samples_ns) == 4 * 5
    assert len(small.warmup_ns) >= 20
    assert min(small.samples_ns) > 0
    assert len(small.memory) == 1 + 4
    runtime = small.environment.runtime
    assert (runtime.name, runtime.threads, runtime.affinity) == ("onnxruntime", 1, None)
    assert (runtime.requested_unit, runtime.observed_unit) == (ComputeUnit.CPU, ComputeUnit.CPU)
    assert small.environment.tools["onnxruntime"] == runtime.version
    assert small.environment.machine.cores == os.cpu_count()


def test_a_refused_model_fails_alone(
    device: DesktopDevice, bundles: list[Bundle], make_bundle: MakeBundle
) -> None:
    broken = Bundle.open(make_bundle("broken"))
    records = run(device, [bundles[0], broken])
    assert [r.outcome for r in records] == [Outcome.COMPLETED, Outcome.FAILED]
    assert "onnxruntime refuses it" in records[1].reason
    assert records[1].environment.runtime.observed_unit is None


@needs_affinity
def test_affinity_holds_while_measuring_only(device: DesktopDevice, bundles: list[Bundle]) -> None:
    before = os.sched_getaffinity(0)
    cpu = max(before)
    during: list[set[int]] = []
    plan = plan_for(bundles).model_copy(update={"affinity": (cpu,)})
    device.prepare(plan, bundles)

    def watch(progress: Progress) -> None:
        during.append(os.sched_getaffinity(0))

    record = device.measure(STAMP, watch)[0]
    assert all(cpus == {cpu} for cpus in during)
    assert record.environment.runtime.affinity == (cpu,)
    assert record.environment.machine.cores == os.cpu_count()
    device.close()
    assert os.sched_getaffinity(0) == before


def test_a_system_without_affinity_says_so(
    device: DesktopDevice, bundles: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    record = run(device, bundles, affinity=(usable_cpus()[0],))[0]
    codes = {warning.code for warning in record.warnings}
    assert WarningCode.AFFINITY_NOT_SUPPORTED in codes
    assert record.environment.runtime.affinity is None


@pytest.mark.parametrize(
    ("threads", "affinity", "says"),
    [
        (5, None, "5 threads do not fit on 4 cpus"),
        (2, (1,), "2 threads do not fit on 1 cpu$"),
        (1, (1, 7, 9), "no usable cpu 7,9"),
    ],
)
def test_impossible_requests(threads: int, affinity: tuple[int, ...] | None, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check_cpus(threads, affinity, (0, 1, 2, 3))


def test_possible_requests() -> None:
    check_cpus(4, None, (0, 1, 2, 3))
    check_cpus(2, (2, 3), (0, 1, 2, 3))


def test_bundles_of_unknown_or_absent_runtimes_are_not_supported(
    device: DesktopDevice, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("care_mobile.runtimes.coreml.sys.platform", "linux")
    apple = device.supports(Bundle.open(make_bundle("apple", runtime="coreml")))
    assert (apple.usable, apple.remedy) == (False, "run this on a Mac")
    odd = device.supports(Bundle.open(make_bundle("odd", runtime="abacus")))
    assert (odd.usable, odd.detail) == (False, "unknown runtime 'abacus'")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("destop", "unknown device 'destop'"),
        ("desktop=2", "one desktop"),
        ("scripted", "needs its script"),
    ],
)
def test_devices_that_are_not_there(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        get_device(text)


def test_devices_by_name(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("{}")
    assert get_device("desktop").name == "desktop"
    assert get_device(f"scripted={tmp_path / 's.json'}").name == "scripted"
