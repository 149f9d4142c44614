"""Bundles over a folder of images: the whole way on one screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import Field

from ..errors import RuntimeFailure, UsageError
from ..frozen import Frozen
from ..requirements import version
from ..runtimes.trial import Trials
from ..selection import PassedOver
from .classes import ClassMap, read_classes
from .dataset import Dataset, open_dataset
from .images import UnreadableImage, read_image
from .journal import Answer, Journal, Key, SubjectKey, keeping, path_for
from .output import check_output, write_report
from .report import dataset_facts, make_report
from .results import EvaluationReport
from .subject import Subject, open_subjects


class EvaluationRequest(Frozen):
    """All that `evaluate` needs to know.

    Attributes:
        bundles: folders of the bundles to evaluate.
        passed_over: what was named beside them and is no bundle, for the report.
        data: folder with one folder of images per class.
        reference: a bundle to compare the others with, image by image.
        classes: file with the folder name of each of the network's classes.
        limit: number of images to draw by `seed`; all of them if None.
        runtime: name of the runtime; by default the one each bundle is made for, and for Core ML
            our interpreter where there is no Mac.
        skip_bad: count images that cannot be read instead of stopping.
        output: where the result goes; progress is kept beside it.
    """

    bundles: tuple[Path, ...] = Field(min_length=1)
    passed_over: tuple[PassedOver, ...] = ()
    data: Path
    reference: Path | None = None
    classes: Path | None = None
    limit: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)
    runtime: str | None = None
    threads: int = Field(1, ge=1)
    skip_bad: bool = False
    output: Path = Path("evaluation.json")


OnStep = Callable[[str, int, int], None]
"""Called with what is being done, how many images of it are done, and how many there are."""


def evaluate(
    request: EvaluationRequest, on_step: OnStep = lambda subject, done, total: None
) -> EvaluationReport:
    """Run every bundle over every image and count.

    An interrupted call, made again, continues where it stopped; the result is the same. A bundle
    that fails its trial (`runtimes.trial`) stands in `failed`, and the others go on.

    Raises:
        CareError: for folders, images, bundles and runtimes that do not fit; see their modules.
    """
    check_output(request.output)
    classes = read_classes(request.classes) if request.classes else None
    dataset = open_dataset(request.data, request.limit, request.seed)
    paths = request.bundles
    if request.reference and request.reference.resolve() not in {p.resolve() for p in paths}:
        paths = (request.reference, *paths)
    subjects, class_map = open_subjects(paths, dataset.folders, classes, request.runtime)
    _check_threads_read(request, subjects)
    subjects, failed = _survivors(request, subjects)
    key = _key(dataset, subjects, class_map, lambda done, total: on_step("reading", done, total))
    journal_path = path_for(request.output)
    runtimes = []
    with keeping(journal_path, key) as journal:
        for number, subject in enumerate(subjects):
            runtimes.append(_run(number, subject, dataset, journal, request, on_step))
    facts = dataset_facts(dataset, class_map, key.fingerprint, request.limit, journal.answers)
    reference = _reference(request, subjects)
    report = make_report(
        facts, dataset, class_map.indices, subjects, runtimes, reference, journal.answers
    )
    told = {"passed_over": request.passed_over, "failed": failed}
    report = report.model_copy(update=told)
    write_report(report, request.output)
    journal_path.unlink(missing_ok=True)
    return report


def _survivors(
    request: EvaluationRequest, subjects: list[Subject]
) -> tuple[list[Subject], tuple[PassedOver, ...]]:
    """Those that their runtimes load and run, and the others with the reason.

    Raises:
        RuntimeFailure: if none does, or the reference does not.
    """
    survivors, failed = [], []
    with Trials() as trials:
        for number, subject in enumerate(subjects):
            try:
                trials.check(subject.bundle, subject.runtime.name, request.threads)
            except RuntimeFailure as error:
                if number == _reference(request, subjects) or len(subjects) == 1:
                    raise
                failed.append((subject, error))
            else:
                survivors.append(subject)
    if not survivors:
        raise failed[0][1]
    return survivors, tuple(
        PassedOver(path=str(subject.bundle.path), reason=str(error)) for subject, error in failed
    )


def _check_threads_read(request: EvaluationRequest, subjects: list[Subject]) -> None:
    runtimes = {subject.runtime.name: subject.runtime for subject in subjects}
    if "threads" in request.model_fields_set and not any(
        runtime.takes_threads for runtime in runtimes.values()
    ):
        raise UsageError(f"--threads does nothing on {' and '.join(runtimes)}", "leave it out")


def _key(
    dataset: Dataset,
    subjects: list[Subject],
    class_map: ClassMap,
    on_image: Callable[[int, int], None],
) -> Key:
    return Key(
        fingerprint=dataset.fingerprint(on_image),
        samples=len(dataset.samples),
        classes=class_map.digest(),
        subjects=tuple(
            SubjectKey(
                integrity=subject.bundle.manifest.integrity,
                runtime=subject.runtime.name,
                version=version(subject.runtime.name) or version("care-mobile") or "unknown",
            )
            for subject in subjects
        ),
    )


def _run(
    number: int,
    subject: Subject,
    dataset: Dataset,
    journal: Journal,
    request: EvaluationRequest,
    on_step: OnStep,
) -> dict[str, str]:
    """Answer what is not answered yet; returns the loaded model's description."""
    total = len(dataset.samples)
    known = {
        sample
        for (whose, sample), answer in journal.answers.items()
        # An image that was left out once is not left out without being asked again.
        if whose == number and (answer.bad is None or request.skip_bad)
    }
    todo = [sample for sample in dataset.order() if sample not in known]
    on_step(subject.label, total - len(todo), total)
    model = subject.load(request.threads)
    for done, sample in enumerate(todo, total - len(todo) + 1):
        path = request.data / dataset.samples[sample].path
        try:
            image = read_image(path, subject.bundle.manifest.preprocessing)
        except UnreadableImage as problem:
            if not request.skip_bad:
                raise UsageError(
                    f"image {path}: {problem}", "--skip-bad leaves such images out and says so"
                ) from problem
            journal.add(Answer(subject=number, sample=sample, bad=str(problem)))
        else:
            top = subject.best(model, image)
            journal.add(Answer(subject=number, sample=sample, top=top))
        on_step(subject.label, done, total)
    return model.describe()


def _reference(request: EvaluationRequest, subjects: list[Subject]) -> int | None:
    if request.reference is None:
        return None
    wanted = request.reference.resolve()
    return next(i for i, s in enumerate(subjects) if s.bundle.path.resolve() == wanted)
