from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from care_mobile.errors import UsageError
from care_mobile.evaluation.dataset import Sample, open_dataset


def tree(root: Path, *files: str) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def test_folders_and_samples_are_sorted_by_name(tmp_path: Path) -> None:
    found = open_dataset(tree(tmp_path, "b/2.JPEG", "b/1.png", "a/x/deep.webp", "B/1.jpg"))
    assert found.folders == ("B", "a", "b")
    assert found.samples == (
        Sample("B/1.jpg", "B"),
        Sample("a/x/deep.webp", "a"),
        Sample("b/1.png", "b"),
        Sample("b/2.JPEG", "b"),
    )


def test_other_files_are_counted_and_hidden_ones_passed_over(tmp_path: Path) -> None:
    root = tree(
        tmp_path, "a/1.png", "a/._1.png", "b/1.png", "b/notes.txt", "labels.csv",
        ".cache/1.png", ".DS_Store",
    )  # fmt: skip
    found = open_dataset(root)
    assert found.folders == ("a", "b")
    assert len(found.samples) == 2
    assert found.ignored == 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "no class folders"),
        (("1.png", "2.png", "x.txt"), "2 images but no class folders"),
        (("a/1.png", "a/2.png"), "one class only \\('a'\\)"),
        (("a/1.png", "b/readme.txt"), "b holds no image"),
    ],
)
def test_folders_that_are_no_dataset(tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        open_dataset(tree(tmp_path, *files))
    assert caught.value.hint


def test_a_missing_folder_and_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        open_dataset(tmp_path / "nothing")
    with pytest.raises(UsageError, match="is not a folder"):
        open_dataset(tree(tmp_path, "file") / "file")


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes in folders there")
def test_pipes_and_looping_links_do_not_hang(tmp_path: Path) -> None:
    root = tree(tmp_path, "a/1.png", "b/1.png")
    os.mkfifo(root / "a" / "pipe.png")
    (root / "a" / "loop").symlink_to(root, target_is_directory=True)
    (root / "a" / "gone.png").symlink_to(root / "nowhere")
    (root / "a" / "link.png").symlink_to(root / "b" / "1.png")
    assert [s.path for s in open_dataset(root).samples] == ["a/1.png", "a/link.png", "b/1.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="names are text elsewhere")
def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    root = tree(tmp_path, "a/1.png", "b/1.png")
    (Path(os.fsdecode(os.fsencode(root) + b"/a/\xff.png"))).touch()
    with pytest.raises(UsageError, match=r"'\\udcff.png' is not UTF-8"):
        open_dataset(root)


def test_a_smaller_draw_is_part_of_a_larger_one(tmp_path: Path) -> None:
    root = tree(tmp_path, *(f"{c}/{i}.png" for c in "ab" for i in range(20)))
    draws = [set(open_dataset(root, limit, seed=3).samples) for limit in (5, 10, 40, 1000)]
    assert [len(draw) for draw in draws] == [5, 10, 40, 40]
    assert draws[0] < draws[1] < draws[2] == draws[3]
    assert draws[1] != set(open_dataset(root, 10, seed=4).samples)


def test_the_order_mixes_classes(tmp_path: Path) -> None:
    root = tree(tmp_path, *(f"{c}/{i}.png" for c in "ab" for i in range(20)))
    found = open_dataset(root)
    order = found.order()
    assert sorted(order) == list(range(40))
    first = [found.samples[i].folder for i in order[:20]]
    assert 0 < first.count("a") < 20


def test_the_fingerprint_is_of_names_and_contents(tmp_path: Path) -> None:
    files = ("a/1.png", "a/2.png", "b/1.png")
    root = tree(tmp_path / "one", *files)
    copy = tree(tmp_path / "two", *reversed(files))
    steps: list[tuple[int, int]] = []
    fingerprint = open_dataset(root).fingerprint(lambda done, total: steps.append((done, total)))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert open_dataset(copy, seed=7).fingerprint() == fingerprint
    (copy / "a" / "1.png").write_bytes(b"a/1.pnG")  # as long as before
    assert open_dataset(copy).fingerprint() != fingerprint
    (root / "a" / "1.png").rename(root / "a" / "0.png")
    assert open_dataset(root).fingerprint() != fingerprint
