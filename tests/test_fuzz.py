"""A short run of `make fuzz`, and that it finds what it looks for."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fuzz import readers
from fuzz.campaign import Campaign
from fuzz.golden import KINDS
from fuzz.mutate import damaged, damaged_json


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    folder = tmp_path_factory.mktemp("fuzz")
    return Campaign(0, KINDS, folder / "work", folder / "keep")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind in readers.READERS])
def test_a_golden_file_is_read(campaign: Campaign, kind: str) -> None:
    readers.READERS[kind](campaign.golden[kind])


def test_damaged_files_of_every_kind_are_read_or_refused(campaign: Campaign) -> None:
    with campaign:
        result = campaign.run(cases=8, seconds=None)
    assert result.findings == []
    assert {kind for kind, _ in result.outcomes} == set(KINDS)
    assert result.outcomes.total() == 8 * len(KINDS)
    assert sum(n for (_, outcome), n in result.outcomes.items() if outcome == "refused") > 50


def test_a_case_is_drawn_from_its_seed_kind_and_number_alone(campaign: Campaign) -> None:
    first = campaign.draw("onnx", 3).read_bytes()
    assert campaign.draw("onnx", 4).read_bytes() != first
    assert campaign.draw("onnx", 3).read_bytes() == first


@pytest.mark.parametrize("harm", ["raise ZeroDivisionError", "import os; os.abort()"])
def test_a_reader_that_breaks_is_found_and_its_file_kept(tmp_path: Path, harm: str) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    # A reader of images that breaks, where the process of the readers looks first.
    (broken / "sitecustomize.py").write_text(
        "import fuzz.readers as r\n"
        f"def harm(path):\n    {harm}\n"
        "import runpy, types\n"
        "import care_mobile.evaluation.images as images\n"
        "images.read_image = lambda path, preprocessing: harm(path)\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(broken))
        campaign = Campaign(0, ("png",), tmp_path / "work", tmp_path / "keep")
    with campaign:
        result = campaign.run(cases=2, seconds=None)
    assert [finding.case for finding in result.findings] == ["0:png:0", "0:png:1"]
    assert all(finding.file.is_file() for finding in result.findings)
    assert any(word in result.findings[0].detail for word in ("ZeroDivisionError", "SIGABRT"))


def test_damage_is_damage() -> None:
    content = b'{"a": [1, 2], "b": {"c": "d"}}'
    draws = [random.Random(seed) for seed in range(200)]
    assert sum(damaged(content, draw) != content for draw in draws) > 150
    assert len({damaged_json(content, draw) for draw in draws}) > 100
