"""What is unexpected in one network loses no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from care_mobile.errors import CareError
from care_mobile.export import network
from care_mobile.export.pipeline import export_bundles
from care_mobile.export.request import ExportRequest
from care_mobile.inputs import Resolution


def request(tmp_path: Path, *models: str) -> ExportRequest:
    return ExportRequest(
        models=models,
        targets=("onnx",),
        resolutions=(Resolution(width=32, height=32),),
        output=tmp_path,
    )


@pytest.fixture
def defect(monkeypatch: pytest.MonkeyPatch) -> None:
    """`prepare` raises what nobody thought of for one network."""
    real = network.prepare

    def prepare(asked: ExportRequest, name: str, *rest: Any) -> network.CapturedNetwork:
        if name == "networks:Deciding":
            raise KeyError("a table without this entry")
        return real(asked, name, *rest)

    monkeypatch.setattr(network, "prepare", prepare)


@pytest.mark.usefixtures("defect")
def test_the_other_network_is_exported(tmp_path: Path) -> None:
    report = export_bundles(request(tmp_path, "networks:Deciding", "networks:trained"))
    first, second = report.bundles
    assert first.failure and "KeyError: 'a table without this entry'" in first.failure.message
    assert second.status.value == "verified"
    assert report.exit_code == first.failure.exit_code


@pytest.mark.usefixtures("defect")
def test_alone_it_is_an_error_for_users(tmp_path: Path) -> None:
    with pytest.raises(CareError, match="Deciding 32x32: KeyError"):
        export_bundles(request(tmp_path, "networks:Deciding"))
