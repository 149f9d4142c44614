"""The report of an evaluation, made of its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from ..errors import UsageError
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
    subjects: Sequence[Subject],
    runtimes: Sequence[dict[str, str]],
    reference: int | None,
    answers: AllAnswers,
) -> EvaluationReport:
    """Count right answers; `reference` is the number of the subject to compare with."""
    return EvaluationReport(
        dataset=facts,
        reference=None if reference is None else subjects[reference].label,
        bundles=tuple(
            _accuracy(dataset, subjects, number, reference, answers, runtime)
            for number, runtime in enumerate(runtimes)
        ),
        created=datetime.now(timezone.utc).replace(microsecond=0),
    )


def dataset_facts(
    dataset: Dataset, fingerprint: str, limit: int | None, answers: AllAnswers
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
        images=len(dataset.samples) - len(bad),
        limit=limit,
        seed=dataset.seed,
        skipped=tuple(SkippedImage(path=path, reason=bad[path]) for path in sorted(bad)),
        ignored_files=dataset.ignored,
    )


def _accuracy(
    dataset: Dataset,
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
            right(dataset, subject.indices, ours, 1),
            right(dataset, base.indices, theirs, 1),
        )
    many = manifest.arrays[0].shape[1] or 0
    return BundleAccuracy(
        name=subject.label,
        integrity=manifest.integrity,
        model=manifest.model,
        target=manifest.target,
        precision=manifest.precision,
        random_weights=manifest.weights.random,
        runtime=runtime,
        top1=accuracy(dataset, subject.indices, ours, 1),
        top5=accuracy(dataset, subject.indices, ours, TOP) if many > TOP else None,
        nan=sum(not answer.top for answer in ours.values()),
        agreement=compared,
        classes=class_counts(dataset, subject.indices, ours),
    )
