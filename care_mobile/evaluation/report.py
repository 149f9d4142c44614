"""The report of an evaluation, made of its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from ..errors import UsageError
from .classes import ClassMap
from .dataset import Dataset
from .journal import Answer
from .results import BundleAccuracy, DatasetFacts, EvaluationReport, SkippedImage
from .subject import TOP, Subject
from .summary import accuracy, agreement, answers_of, class_counts, right

AllAnswers = Mapping[tuple[int, int], Answer]
"""By number of the subject and number of the sample."""


def make_report(
    facts: DatasetFacts,
    dataset: Dataset,
    indices: Mapping[str, int],
    subjects: Sequence[Subject],
    runtimes: Sequence[dict[str, str]],
    reference: int | None,
    answers: AllAnswers,
) -> EvaluationReport:
    """Count right answers, on images that all could read.

    Args:
        indices: folder -> class of the networks.
        reference: number of the subject to compare with.
    """
    skipped = {answer.sample for answer in answers.values() if answer.bad is not None}
    answers = {key: answer for key, answer in answers.items() if answer.sample not in skipped}
    return EvaluationReport(
        dataset=facts,
        reference=None if reference is None else subjects[reference].label,
        bundles=tuple(
            _accuracy(dataset, indices, subjects, number, reference, answers, runtime)
            for number, runtime in enumerate(runtimes)
        ),
        created=datetime.now(timezone.utc).replace(microsecond=0),
    )


def dataset_facts(
    dataset: Dataset,
    class_map: ClassMap,
    fingerprint: str,
    limit: int | None,
    answers: AllAnswers,
) -> DatasetFacts:
    """What was evaluated on, and which images could not be read.

    Raises:
        UsageError: if no image could.
    """
    bad = {
        dataset.samples[answer.sample].path: answer.bad
        for answer in answers.values()
        if answer.bad is not None
    }
    if len(bad) == len(dataset.samples):
        raise UsageError(f"no image in {dataset.root} can be read", "check the folder")
    return DatasetFacts(
        name=dataset.root.resolve().name,
        fingerprint=fingerprint,
        classes=len(dataset.folders),
        classes_from=class_map.source,
        note=class_map.note,
        images=len(dataset.samples) - len(bad),
        limit=limit,
        seed=dataset.seed,
        skipped=tuple(SkippedImage(path=path, reason=bad[path]) for path in sorted(bad)),
        ignored_files=dataset.ignored,
    )


def _accuracy(
    dataset: Dataset,
    indices: Mapping[str, int],
    subjects: Sequence[Subject],
    number: int,
    reference: int | None,
    answers: AllAnswers,
    runtime: dict[str, str],
) -> BundleAccuracy:
    subject, ours = subjects[number], answers_of(number, answers)
    manifest = subject.bundle.manifest
    compared = None
    if reference is not None and reference != number:
        base, theirs = subjects[reference], answers_of(reference, answers)
        compared = agreement(
            base.label,
            ours,
            theirs,
            right(dataset, indices, ours, 1),
            right(dataset, indices, theirs, 1),
        )
    among = TOP if subject.classes > TOP else None
    return BundleAccuracy(
        name=subject.label,
        integrity=manifest.integrity,
        model=manifest.model,
        target=manifest.target,
        precision=manifest.precision,
        random_weights=manifest.weights.random,
        runtime=runtime,
        top1=accuracy(dataset, indices, ours, 1),
        top5=accuracy(dataset, indices, ours, among) if among else None,
        nan=sum(not answer.top for answer in ours.values()),
        agreement=compared,
        classes=class_counts(dataset, indices, ours, among),
    )
