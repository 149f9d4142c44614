from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from care_mobile.bundle import Bundle
from care_mobile.errors import BundleError, OutputError, RuntimeFailure, UsageError
from care_mobile.evaluation.evaluate import EvaluationRequest, OnStep, evaluate
from care_mobile.evaluation.images import UnreadableImage, read_image
from care_mobile.evaluation.intervals import proportion
from care_mobile.evaluation.journal import path_for
from care_mobile.evaluation.results import ClassCounts, EvaluationReport
from care_mobile.evaluation.subject import choose_runtime
from care_mobile.inputs import Array, Preprocessing

from .conftest import GREYS, NAMES, Classifier, Pictures

NO_LAST = (*GREYS[:-1], 1000)
"""Never answers with the last class."""


@pytest.fixture
def request_for(tmp_path: Path, eight: Path) -> Any:
    def make(*bundles: Path, **fields: Any) -> EvaluationRequest:
        defaults = {"data": eight, "output": tmp_path / "evaluation.json"}
        return EvaluationRequest(bundles=bundles, **defaults | fields)

    return make


def same(one: EvaluationReport, other: EvaluationReport) -> bool:
    return one.model_copy(update={"created": other.created}) == other


def stop_after(count: int) -> OnStep:
    """Presses Ctrl-C after so many answers."""
    steps: Iterator[int] = iter(range(1000))

    def on_step(subject: str, done: int, total: int) -> None:
        if subject != "reading" and done > 0 and next(steps) == count - 1:
            raise KeyboardInterrupt

    return on_step


def test_accuracies_are_counted(classifier: Classifier, request_for: Any) -> None:
    report = evaluate(request_for(classifier()))
    (found,) = report.bundles
    assert found.top1 == proportion(25, 32)
    assert found.top5 == proportion(32, 32)
    assert found.nan == 0
    assert found.agreement is None
    assert found.classes[0] == ClassCounts(folder="a", index=0, images=4, top1=3, top5=4)
    assert found.classes[7] == ClassCounts(folder="h", index=7, images=4, top1=4, top5=4)
    assert found.runtime["runtime"] == "onnxruntime"
    assert report.dataset.images == 32
    assert report.dataset.classes == 8


def test_a_file_of_classes_decides_what_is_right(
    classifier: Classifier, request_for: Any, tmp_path: Path
) -> None:
    names = tmp_path / "classes.txt"
    names.write_text("\n".join(reversed(NAMES)))
    (found,) = evaluate(request_for(classifier(), classes=names)).bundles
    assert found.top1 == proportion(1, 32)  # d's lightest image is taken for e's, which d now is
    assert [row.folder for row in found.classes] == list(reversed(NAMES))


def test_bundles_are_compared_with_the_reference(classifier: Classifier, request_for: Any) -> None:
    good, poor = classifier("good"), classifier("poor", greys=NO_LAST)
    report = evaluate(request_for(good, reference=poor))
    assert [found.name for found in report.bundles] == ["poor", "good"]
    assert report.reference == "poor"
    base, found = report.bundles
    assert base.agreement is None
    assert base.top1 == proportion(22, 32)
    pair = found.agreement
    assert pair is not None
    assert (pair.gained, pair.lost, pair.same) == (4, 1, proportion(27, 32))
    assert pair.difference == 3 / 32
    assert same(report, evaluate(request_for(poor, good, reference=poor)))


def test_few_classes_have_no_top5(
    classifier: Classifier, pictures: Pictures, request_for: Any
) -> None:
    data = pictures({name: [grey] for name, grey in zip("abc", GREYS, strict=False)}, "three")
    (found,) = evaluate(request_for(classifier(greys=GREYS[:3]), data=data)).bundles
    assert found.top1 == proportion(3, 3)
    assert found.top5 is None
    assert [row.top5 for row in found.classes] == [None] * 3


def test_nan_is_wrong_and_agrees_with_nothing(classifier: Classifier, request_for: Any) -> None:
    broken = (*GREYS[:-1], float("nan"))
    one, two = classifier("one", greys=broken), classifier("two", greys=broken, model="other")
    report = evaluate(request_for(one, two, reference=one))
    assert [found.nan for found in report.bundles] == [32, 32]
    pair = report.bundles[1].agreement
    assert pair is not None
    assert pair.same == proportion(0, 32)


def test_a_limit_draws_images(classifier: Classifier, request_for: Any) -> None:
    bundle = classifier()
    ten = evaluate(request_for(bundle, limit=10))
    assert ten.bundles[0].top1.total == 10
    assert ten.dataset.fingerprint != evaluate(request_for(bundle)).dataset.fingerprint


def test_the_labels_of_one_bundle_are_the_classes_of_all(
    classifier: Classifier, request_for: Any, pictures: Pictures
) -> None:
    """Their order is not that of the sorted folders, by which nothing would be right."""
    words = ("zero", "one", "two", "three", "four", "five", "six", "seven")
    data = pictures({w: (g - 5, g, g + 5) for w, g in zip(words, GREYS, strict=True)}, "words")
    labelled, bare = classifier("labelled", labels=words), classifier("bare")
    report = evaluate(request_for(bare, labelled, reference=bare, data=data))
    assert [found.top1 for found in report.bundles] == [proportion(24, 24)] * 2
    assert report.dataset.classes_from == "labels"
    base, found = report.bundles
    assert base.classes == found.classes
    assert found.agreement is not None
    assert found.agreement.same == proportion(24, 24)
    assert found.agreement.difference == 0
    alone = evaluate(request_for(bare, data=data))
    assert alone.dataset.classes_from == "folder names"
    assert alone.bundles[0].top1.count < 12


@pytest.mark.parametrize("other", ["classes", "labels"])
def test_bundles_that_disagree_about_classes(
    classifier: Classifier, request_for: Any, other: str
) -> None:
    one = classifier("one", labels=NAMES)
    two = (
        classifier("two", greys=GREYS[:7])
        if other == "classes"
        else classifier("two", labels=tuple(reversed(NAMES)))
    )
    with pytest.raises(UsageError, match=r"one .*two") as caught:
        evaluate(request_for(one, two))
    assert "calls of their own" in caught.value.hint


@pytest.mark.parametrize("answers", [1, 20, 32, 40, 63])
def test_an_interrupted_run_continues(
    classifier: Classifier, request_for: Any, tmp_path: Path, answers: int
) -> None:
    good, poor = classifier("good"), classifier("poor", greys=NO_LAST)
    request = request_for(good, reference=poor)
    with pytest.raises(KeyboardInterrupt):
        evaluate(request, stop_after(answers))
    journal = path_for(request.output)
    assert len(journal.read_bytes().splitlines()) == 1 + answers
    assert not request.output.exists()
    with journal.open("ab") as stream:
        stream.write(b'{"subject": 1, "sam')  # torn by a power cut

    asked: list[tuple[str, int, int]] = []
    report = evaluate(request, lambda *step: asked.append(step))
    fresh = [step for step in asked if step[0] != "reading"]
    assert len(fresh) == 2 + 64 - answers  # one step each to say how much is done already
    assert not journal.exists()
    straight = evaluate(request_for(good, reference=poor, output=tmp_path / "straight.json"))
    assert same(report, straight)
    assert EvaluationReport.model_validate_json(request.output.read_bytes()) == report


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("image", "on other images"),
        ("limit", "on other images"),
        ("bundle", "with other bundles"),
        ("classes", "with other classes"),
        ("journal", "damaged or no progress"),
        ("answer", "answers what was not asked"),
    ],
)
def test_a_changed_run_is_refused(
    classifier: Classifier, request_for: Any, tmp_path: Path, change: str, message: str
) -> None:
    request = request_for(classifier())
    with pytest.raises(KeyboardInterrupt):
        evaluate(request, stop_after(5))
    journal = path_for(request.output)
    if change == "image":
        (request.data / "a" / "0.png").write_bytes((request.data / "b" / "0.png").read_bytes())
    elif change == "limit":
        request = request.model_copy(update={"limit": 20})
    elif change == "bundle":
        classifier(model="another")
    elif change == "classes":
        names = tmp_path / "classes.txt"
        names.write_text("\n".join(reversed(NAMES)))
        request = request.model_copy(update={"classes": names})
    else:
        line = b"not json\n" if change == "journal" else b'{"subject": 3, "sample": 0}\n'
        journal.write_bytes(journal.read_bytes() + line)
    kept = journal.read_bytes()
    with pytest.raises(UsageError, match=message) as caught:
        evaluate(request)
    assert "delete it" in caught.value.hint
    assert journal.read_bytes() == kept


def test_a_journal_that_does_not_tell_its_classes_goes_on(
    classifier: Classifier, request_for: Any
) -> None:
    request = request_for(classifier())
    with pytest.raises(KeyboardInterrupt):
        evaluate(request, stop_after(5))
    journal = path_for(request.output)
    key, *answers = journal.read_bytes().splitlines(keepends=True)
    old = {name: value for name, value in json.loads(key).items() if name != "classes"}
    journal.write_bytes(json.dumps(old).encode() + b"\n" + b"".join(answers))
    assert evaluate(request).bundles[0].top1 == proportion(25, 32)


def test_an_image_that_was_left_out_is_asked_again_without_the_option(
    classifier: Classifier, request_for: Any
) -> None:
    request = request_for(classifier())
    (request.data / "a" / "0.png").write_bytes(b"this is text")
    with pytest.raises(KeyboardInterrupt):
        evaluate(request.model_copy(update={"skip_bad": True}), stop_after(31))
    with pytest.raises(UsageError, match=r"a/0\.png: not an image"):
        evaluate(request)


def test_an_image_that_one_bundle_cannot_take_counts_for_none(
    classifier: Classifier, request_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise one table would hold accuracies on different images."""
    good, poor = classifier("good"), classifier("poor", greys=NO_LAST, precision="fp16")
    asked: list[Path] = []

    def once(path: Path, preprocessing: Preprocessing) -> Array:
        asked.append(path)
        if path.match("h/0.png") and asked.count(path) == 2:
            raise UnreadableImage("the disk failed")
        return read_image(path, preprocessing)

    monkeypatch.setattr("care_mobile.evaluation.evaluate.read_image", once)
    report = evaluate(request_for(good, reference=poor, skip_bad=True))
    assert report.dataset.images == 31
    assert [found.top1.total for found in report.bundles] == [31, 31]
    assert [found.classes[7].images for found in report.bundles] == [3, 3]
    assert report.bundles[1].agreement is not None
    assert report.bundles[1].agreement.same.total == 31


def test_an_unreadable_image_stops_or_is_counted(classifier: Classifier, request_for: Any) -> None:
    request = request_for(classifier(), reference=classifier("poor", greys=NO_LAST))
    (request.data / "c" / "1.png").write_bytes(b"this is text")
    with pytest.raises(UsageError, match=r"c/1\.png: not an image") as caught:
        evaluate(request)
    assert "--skip-bad" in caught.value.hint
    report = evaluate(request.model_copy(update={"skip_bad": True}))  # goes on from there
    assert [bad.path for bad in report.dataset.skipped] == ["c/1.png"]
    assert report.dataset.images == 31
    assert {found.top1.total for found in report.bundles} == {31}


def test_no_readable_image_at_all(classifier: Classifier, request_for: Any) -> None:
    request = request_for(classifier(), skip_bad=True)
    for path in request.data.glob("*/*.png"):
        path.write_bytes(b"this is text")
    with pytest.raises(UsageError, match=r"no image in .* can be read"):
        evaluate(request)


def test_nothing_but_a_result_is_replaced(classifier: Classifier, request_for: Any) -> None:
    request = request_for(classifier())
    request.output.write_text("a diary")
    with pytest.raises(OutputError, match="no result of care-eval"):
        evaluate(request)
    assert request.output.read_text() == "a diary"


def test_bundles_that_cannot_be_evaluated(classifier: Classifier, request_for: Any) -> None:
    bundle = classifier()
    with pytest.raises(UsageError, match="given twice"):
        evaluate(request_for(bundle, bundle.parent / "." / bundle.name))
    with pytest.raises(BundleError, match="is not a bundle"):
        evaluate(request_for(bundle.parent))
    with pytest.raises(UsageError, match="does not run on executorch"):
        evaluate(request_for(bundle, runtime="executorch"))
    with pytest.raises(UsageError, match="unknown runtime 'onnxruntme'"):
        evaluate(request_for(bundle, runtime="onnxruntme"))


def test_scores_of_another_shape_are_a_failure(classifier: Classifier, request_for: Any) -> None:
    outputs = Bundle.open(classifier("nine", greys=(*GREYS, 260))).manifest.outputs
    with pytest.raises(RuntimeFailure, match=r"shape \(1, 8\), not \(1, 9\)"):
        evaluate(request_for(classifier(outputs=outputs), classes=_nine(request_for)))


def _nine(request_for: Any) -> Path:
    path = Path(request_for(Path()).data).parent / "nine.txt"
    path.write_text("\n".join((*NAMES, "i")))
    return path


def test_core_ml_has_a_stand_in(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle.open(classifier(runtime="coreml"))
    monkeypatch.setattr("sys.platform", "linux")
    assert choose_runtime(bundle).name == "coreml-interpreter"
    assert choose_runtime(bundle, "coreml").name == "coreml"
    with pytest.raises(UsageError, match="does not run on onnxruntime") as caught:
        choose_runtime(bundle, "onnxruntime")
    assert caught.value.hint == "it runs on coreml or coreml-interpreter"


def test_threads_where_the_runtime_chooses_by_itself(
    classifier: Classifier, eight: Path, tmp_path: Path
) -> None:
    """The interpreter runs in one thread whatever is asked for."""
    bundle = classifier(target="coreml", runtime="coreml")
    for threads in (1, 4):
        request = EvaluationRequest(
            bundles=(bundle,), data=eight, runtime="coreml-interpreter", threads=threads,
            output=tmp_path / "result.json",
        )  # fmt: skip
        with pytest.raises(UsageError, match="--threads does nothing on coreml-interpreter"):
            evaluate(request)
