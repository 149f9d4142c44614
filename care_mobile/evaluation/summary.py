"""From answers to accuracies: pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from .dataset import Dataset
from .intervals import paired_difference, proportion
from .journal import Answer
from .results import Agreement, ClassCounts, Proportion

Answers = Mapping[int, Answer]
"""By sample; those of images that could not be read are left out."""


def answers_of(subject: int, answers: Mapping[tuple[int, int], Answer]) -> dict[int, Answer]:
    """One subject's answers, images that could not be read left out."""
    return {
        sample: answer
        for (whose, sample), answer in answers.items()
        if whose == subject and answer.bad is None
    }


def right(dataset: Dataset, indices: Mapping[str, int], answers: Answers, among: int) -> set[int]:
    """Samples whose class is among the first `among` of the answer."""
    return {
        sample
        for sample, answer in answers.items()
        if indices[dataset.samples[sample].folder] in answer.top[:among]
    }


def accuracy(
    dataset: Dataset, indices: Mapping[str, int], answers: Answers, among: int
) -> Proportion:
    """Top-`among` accuracy over all answers."""
    return proportion(len(right(dataset, indices, answers, among)), len(answers))


def class_counts(
    dataset: Dataset, indices: Mapping[str, int], answers: Answers, among: int | None
) -> tuple[ClassCounts, ...]:
    """Counts of every class folder, in the network's order; first classes, and those `among` so
    many where it says how many.
    """

    def by_folder(samples: Sequence[int]) -> Counter[str]:
        return Counter(dataset.samples[sample].folder for sample in samples)

    images = by_folder(list(answers))
    first = by_folder(list(right(dataset, indices, answers, 1)))
    more = by_folder(list(right(dataset, indices, answers, among))) if among else None
    return tuple(
        ClassCounts(
            folder=folder,
            index=index,
            images=images[folder],
            top1=first[folder],
            top5=None if more is None else more[folder],
        )
        for folder, index in sorted(indices.items(), key=lambda item: item[1])
    )


def agreement(
    name: str,
    answers: Answers,
    reference: Answers,
    rights: set[int],
    reference_rights: set[int],
) -> Agreement:
    """A bundle's answers against those of the reference called `name`, on the same images."""
    both = answers.keys() & reference.keys()
    # Two answers of NaN agree on nothing.
    same = sum(answers[s].top[:1] == reference[s].top[:1] != () for s in both)
    gained = len((rights - reference_rights) & both)
    lost = len((reference_rights - rights) & both)
    difference, low, high = paired_difference(gained, lost, len(both))
    return Agreement(
        reference=name,
        same=proportion(same, len(both)),
        gained=gained,
        lost=lost,
        difference=difference,
        difference_low=low,
        difference_high=high,
    )
