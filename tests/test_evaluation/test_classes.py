from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from care_mobile.bundle import Bundle, TensorSpec
from care_mobile.errors import BundleError, UsageError
from care_mobile.evaluation.classes import Claim, claim, class_count, map_classes, read_classes
from care_mobile.runtimes.coreml import LABELS_FILE, read_labels

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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n \n", "is empty"),
        ("a\nb\na\n", "'a' twice"),
        ("n01440764 a\nn01440764 b\n", "twice"),
        ("a\n\x1b[2J\n", "is no name"),
        ("a\n" + 256 * "b", "is no name"),
    ],
)
def test_files_that_name_no_classes(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_classes(classes_file(tmp_path, text))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("binary", "missing"):
        with pytest.raises(UsageError, match="cannot be read"):
            read_classes(tmp_path / name)


def test_marks_and_line_ends_of_other_systems(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes("\ufeffgreat white shark\r\nété\r\n".encode())
    assert read_classes(path) == ("great white shark", "été")


GREY = Claim("grey", 8)
INDICES = {name: index for index, name in enumerate(NAMES)}
BACKWARDS = tuple(reversed(NAMES))


def test_sorted_folders_are_the_classes() -> None:
    found = map_classes(NAMES, [GREY], None)
    assert (found.indices, found.source, found.note) == (INDICES, "folder names", "")
    assert map_classes(BACKWARDS, [GREY], None).indices == INDICES


def test_a_file_gives_the_order_and_allows_a_part() -> None:
    found = map_classes(("a", "c"), [GREY], BACKWARDS)
    assert (found.indices, found.source) == ({"a": 7, "c": 5}, "--classes")


def test_the_labels_of_one_give_the_order_for_all() -> None:
    labelled = Claim("labelled", 8, BACKWARDS)
    for claims in ([labelled], [labelled, GREY], [GREY, labelled], [GREY, labelled, labelled]):
        found = map_classes(("a", "c"), claims, None)
        assert (found.indices, found.source) == ({"a": 7, "c": 5}, "labels")
    with pytest.raises(UsageError, match="no class in the labels of labelled is called 'z'"):
        map_classes(("a", "z"), [GREY, labelled], None)


def test_a_file_goes_before_labels_and_a_contradiction_is_told() -> None:
    labelled = Claim("labelled", 8, BACKWARDS)
    found = map_classes(NAMES, [GREY, labelled], NAMES)
    assert (found.indices, found.source) == (INDICES, "--classes")
    assert "'a' class 0, the labels of labelled class 7" in found.note
    words = tuple(f"class {name}" for name in NAMES)
    assert map_classes(NAMES, [Claim("words", 8, words)], NAMES).note == ""


@pytest.mark.parametrize("classes", [None, NAMES])
def test_networks_that_disagree_are_refused(classes: tuple[str, ...] | None) -> None:
    with pytest.raises(UsageError, match="grey has 8 classes, other has 9"):
        map_classes(NAMES, [GREY, Claim("other", 9)], classes)
    one, two = Claim("one", 8, NAMES), Claim("two", 8, BACKWARDS)
    message = "labels of one and two disagree: class 0 is 'a' and 'h'"
    with pytest.raises(UsageError, match=message):
        map_classes(NAMES, [one, GREY, two], classes)
    with pytest.raises(UsageError, match="one has 8 labels for 9 classes"):
        map_classes(NAMES, [Claim("one", 9, NAMES)], classes)


def test_labels_that_name_a_class_twice() -> None:
    with pytest.raises(UsageError, match="labels of x names 'a' twice"):
        map_classes(("a", "b"), [Claim("x", 3, ("a", "b", "a"))], None)


def test_imagenets_labels_have_descriptions() -> None:
    labels = ("n01440764 tench, Tinca tinca", "n01443537 goldfish")
    folders = ("n01440764", "n01443537")
    assert map_classes(folders, [Claim("x", 2, labels)], None).indices["n01443537"] == 1


@pytest.mark.parametrize("folder", ["Great white shark", "great_white_shark", "GREAT-white Shark"])
def test_a_name_that_is_nearly_a_class_says_so(folder: str) -> None:
    labelled = Claim("x", 2, ("great white shark", "tench"))
    with pytest.raises(UsageError, match="no class in the labels of x") as caught:
        map_classes((folder, "tench"), [labelled], None)
    assert f"{folder!r} must be called 'great white shark'" in caught.value.hint


def test_accents_are_the_same_however_they_are_written() -> None:
    apart, composed = "e\u0301te\u0301", "\u00e9t\u00e9"
    for one, other in ((apart, composed), (composed, apart)):
        found = map_classes(("hiver", one), [Claim("x", 2, (other, "hiver"))], None)
        assert found.indices == {"hiver": 1, one: 0}


def test_folders_that_are_not_the_classes() -> None:
    with pytest.raises(UsageError, match="7 class folders, but grey has 8 classes") as caught:
        map_classes(NAMES[:7], [GREY], None)
    assert "--classes FILE" in caught.value.hint
    with pytest.raises(UsageError, match="--classes names 7 classes, grey has 8"):
        map_classes(NAMES, [GREY], NAMES[:7])
    with pytest.raises(UsageError, match="'1', '2', '3', '4' and 1 more"):
        map_classes(("1", "2", "3", "4", "5", "a"), [GREY], NAMES)


@pytest.mark.parametrize("name", ["{}", "class{}", "class_{}_x"])
def test_numbers_that_sort_as_text_are_refused(name: str) -> None:
    names = tuple(sorted(name.format(n) for n in range(12)))
    twelve = Claim("twelve", 12)
    with pytest.raises(UsageError, match="sort differently"):
        map_classes(names, [twelve], None)
    padded = tuple(name.format(f"{n:02}") for n in range(12))
    assert map_classes(padded, [twelve], None).indices[name.format(10)] == 10
    given = tuple(name.format(n) for n in range(12))
    assert map_classes(names, [twelve], given).indices[name.format(10)] == 10


def test_names_with_numbers_in_them_are_no_numbers() -> None:
    folders = ("Boeing 737", "Boeing 1011", "DC-10 old")
    assert map_classes(folders, [Claim("planes", 3)], None).indices["Boeing 1011"] == 0


def test_what_a_bundle_claims(classifier: Classifier) -> None:
    bundle = Bundle.open(classifier())
    assert claim(bundle, "x") == Claim("x", 8)
    bundle = Bundle.open(classifier("labelled", labels=NAMES))
    assert claim(bundle, "x") == Claim("x", 8, NAMES)


def test_labels_of_earlier_bundles_lie_in_a_file(write_bundle: Callable[..., Path]) -> None:
    text = "\n".join(NAMES) + "\n"
    bundle = Bundle.open(write_bundle(content=text.encode(), model_file=LABELS_FILE))
    assert read_labels(bundle) == list(NAMES)
    bundle = Bundle.open(write_bundle(content=b"\xff", model_file=LABELS_FILE))
    with pytest.raises(BundleError, match="cannot be read"):
        read_labels(bundle)


def test_a_file_that_the_manifest_does_not_list_is_not_read(classifier: Classifier) -> None:
    path = classifier()
    (path / LABELS_FILE).write_text("\n".join(BACKWARDS), encoding="utf-8")
    assert claim(Bundle.open(path), "x").labels == ()


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
