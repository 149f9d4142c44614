from __future__ import annotations

from pathlib import Path

import pytest

from care_mobile.bundle import Bundle, TensorSpec
from care_mobile.errors import UsageError
from care_mobile.evaluation.classes import class_count, class_indices, read_classes
from care_mobile.runtimes.coreml import LABELS_FILE

from .conftest import NAMES, Classifier


def classes_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "classes.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_one_name_per_line(tmp_path: Path) -> None:
    assert read_classes(classes_file(tmp_path, "b c\r\n\n a \n")) == ("b c", "a")


def test_imagenets_list_with_descriptions(tmp_path: Path) -> None:
    text = "n01440764 tench, Tinca tinca\nn01443537\tgoldfish\n"
    assert read_classes(classes_file(tmp_path, text)) == ("n01440764", "n01443537")


@pytest.mark.parametrize(("text", "message"), [("\n \n", "is empty"), ("a\nb\na\n", "'a' twice")])
def test_files_that_name_no_classes(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_classes(classes_file(tmp_path, text))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("binary", "missing"):
        with pytest.raises(UsageError, match="cannot be read"):
            read_classes(tmp_path / name)


@pytest.fixture
def bundle(classifier: Classifier) -> Bundle:
    return Bundle.open(classifier())


def test_sorted_folders_are_the_classes(bundle: Bundle) -> None:
    assert class_indices(NAMES, bundle, None) == {name: i for i, name in enumerate(NAMES)}


def test_a_file_gives_the_order_and_allows_a_part(bundle: Bundle) -> None:
    backwards = tuple(reversed(NAMES))
    assert class_indices(("a", "c"), bundle, backwards) == {"a": 7, "c": 5}


def test_the_bundles_labels_give_the_order(classifier: Classifier) -> None:
    path = classifier("labelled")
    (path / LABELS_FILE).write_text("\n".join(reversed(NAMES)) + "\n", encoding="utf-8")
    bundle = Bundle.open(path)
    assert class_indices(("a", "c"), bundle, None) == {"a": 7, "c": 5}
    with pytest.raises(UsageError, match="no class in the labels of labelled is called 'z'"):
        class_indices(("a", "z"), bundle, None)


def test_folders_that_are_not_the_classes(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="7 class folders, but grey has 8 classes") as caught:
        class_indices(NAMES[:7], bundle, None)
    assert "--classes FILE" in caught.value.hint
    with pytest.raises(UsageError, match="--classes names 7 classes, grey has 8"):
        class_indices(NAMES, bundle, NAMES[:7])
    with pytest.raises(UsageError, match="'1', '2', '3', '4' and 1 more"):
        class_indices(("1", "2", "3", "4", "5", "a"), bundle, NAMES)


def test_numbers_that_sort_as_text_are_refused(classifier: Classifier) -> None:
    names = tuple(sorted(str(n) for n in range(12)))
    bundle = Bundle.open(classifier("twelve", greys=range(12)))
    with pytest.raises(UsageError, match="sort differently"):
        class_indices(names, bundle, None)
    padded = tuple(f"{n:02}" for n in range(12))
    assert class_indices(padded, bundle, None)["10"] == 10
    assert class_indices(names, bundle, tuple(str(n) for n in range(12)))["10"] == 10


@pytest.mark.parametrize(
    "outputs",
    [
        (TensorSpec(name="map", shape=(1, 8, 4, 4)),),
        (TensorSpec(name="a", shape=(1, 8)), TensorSpec(name="b", shape=(1, 8))),
        (TensorSpec(name="one", shape=(1, 1)),),
    ],
)
def test_bundles_that_do_not_classify(
    classifier: Classifier, outputs: tuple[TensorSpec, ...]
) -> None:
    with pytest.raises(UsageError, match=r"no classifier|1 classes"):
        class_count(Bundle.open(classifier(outputs=outputs)))
