from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from care_mobile.bundle import MANIFEST
from care_mobile.errors import BundleError
from care_mobile.selection import select_bundles


def test_only_what_holds_a_manifest_is_a_bundle(
    tmp_path: Path, write_bundle: Callable[..., Path]
) -> None:
    good, damaged = write_bundle("good"), write_bundle("damaged")
    (damaged / MANIFEST).write_text("nothing")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "Manifest.json").touch()
    (tmp_path / ".partial-1-old-good").mkdir()
    (tmp_path / ".partial-1-old-good" / MANIFEST).touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    others = ["package", ".partial-1-old-good", "file", "link"]
    found = select_bundles([good, *(tmp_path / name for name in others), damaged])
    assert found.bundles == (good, damaged)
    assert [Path(one.path).name for one in found.passed_over] == others
    assert [one.reason for one in found.passed_over] == [
        "no manifest.json in it",
        "what an export that was ended left",
        "a file",
        "a link to nothing",
    ]


@pytest.mark.parametrize("count", [1, 2])
def test_no_bundle_at_all_is_an_error(tmp_path: Path, count: int) -> None:
    for name in ("one", "two")[:count]:
        (tmp_path / name).mkdir()
    with pytest.raises(BundleError, match=r"one is not a bundle: no manifest\.json in it"):
        select_bundles(sorted(tmp_path.iterdir()))


def test_what_is_not_there_is_left_to_who_opens_it(
    tmp_path: Path, write_bundle: Callable[..., Path]
) -> None:
    paths = (write_bundle("good"), tmp_path / "nowhere")
    assert select_bundles(paths).bundles == paths


def test_a_link_to_a_bundle_is_one(tmp_path: Path, write_bundle: Callable[..., Path]) -> None:
    (tmp_path / "link").symlink_to(write_bundle("good"))
    assert select_bundles([tmp_path / "link"]).bundles == (tmp_path / "link",)


@pytest.mark.skipif(os.name == "nt", reason="names are no bytes there")
def test_names_that_are_no_text_can_be_told(
    tmp_path: Path, write_bundle: Callable[..., Path]
) -> None:
    odd = tmp_path / os.fsdecode(b"n\xff")
    odd.touch()
    (found,) = select_bundles([write_bundle("good"), odd]).passed_over
    assert found.path.endswith("n\N{REPLACEMENT CHARACTER}")
    assert found.model_dump_json()
