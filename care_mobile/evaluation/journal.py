"""The answers so far, in a file beside the result, so that an interrupted run continues.

JSON lines: first the key, which says what the answers belong to, then one answer each. The last
line may be torn; the others may not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import Field, ValidationError

from ..errors import OutputError, UsageError
from ..frozen import Frozen

_TOP = 5


class SubjectKey(Frozen):
    """A bundle on a runtime: what must be the same for its answers to be the same."""

    integrity: str
    runtime: str
    version: str


class Key(Frozen):
    """What the answers of a journal belong to."""

    fingerprint: str
    samples: int
    subjects: tuple[SubjectKey, ...]
    classes: str | None = Field(None, description="which class each folder is, as a hash")


class Answer(Frozen):
    """What subject number `subject` says to sample number `sample`: its best classes, best first.

    No class at all means that the scores held NaN. `bad` is the reason why an image was skipped.
    """

    subject: int = Field(ge=0)
    sample: int = Field(ge=0)
    top: tuple[int, ...] = Field((), max_length=_TOP)
    bad: str | None = None


class Journal:
    """Open one with `keeping`. `answers` maps (subject, sample) to what is known."""

    def __init__(self, stream: IO[bytes], answers: dict[tuple[int, int], Answer]) -> None:
        self._stream = stream
        self.answers = answers

    def add(self, answer: Answer) -> None:
        """Keep an answer, on disk too.

        Raises:
            OutputError: if the disk refuses.
        """
        self.answers[answer.subject, answer.sample] = answer
        _append(self._stream, answer)


def path_for(output: Path) -> Path:
    """Where the journal of a result at `output` lies."""
    return output.with_name(f"{output.name}.partial")


@contextmanager
def keeping(path: Path, key: Key) -> Iterator[Journal]:
    """The journal at `path`, continued if there is one; it stays until it is deleted.

    Raises:
        UsageError: if the one there belongs to something else, or is damaged.
        OutputError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+b")
    except OSError as error:
        raise _unwritable(path, error) from error
    with stream:
        stream.seek(0)
        content = stream.read()
        whole = content[: content.rfind(b"\n") + 1]
        stream.truncate(len(whole))
        if not whole:
            _append(stream, key)
        yield Journal(stream, _read(path, whole.splitlines(), key) if whole else {})


def _read(path: Path, lines: list[bytes], key: Key) -> dict[tuple[int, int], Answer]:
    try:
        found = Key.model_validate_json(lines[0])
        answers = [Answer.model_validate_json(line) for line in lines[1:]]
    except ValidationError as error:
        raise UsageError(f"{path} is damaged or no progress of care-eval", _AFRESH) from error
    difference = _difference(found, key)
    if difference:
        raise UsageError(f"{path} was begun {difference}", _AFRESH)
    if any(a.subject >= len(key.subjects) or a.sample >= key.samples for a in answers):
        raise UsageError(f"{path} is damaged: it answers what was not asked", _AFRESH)
    return {(answer.subject, answer.sample): answer for answer in answers}


_AFRESH = "delete it to begin afresh, or choose another --output"


def _difference(found: Key, key: Key) -> str:
    if found.fingerprint != key.fingerprint or found.samples != key.samples:
        return "on other images: the folder, --limit or --seed changed"
    if [s.integrity for s in found.subjects] != [s.integrity for s in key.subjects]:
        return "with other bundles"
    # Journals of earlier versions do not tell; their answers are the network's own classes.
    if found.classes not in (None, key.classes):
        return "with other classes: --classes or the labels changed"
    return "on another runtime or version" if found.subjects != key.subjects else ""


def _append(stream: IO[bytes], line: Frozen) -> None:
    try:
        stream.write(line.model_dump_json().encode() + b"\n")
        stream.flush()
    except OSError as error:
        raise _unwritable(Path(stream.name), error) from error


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write {path}: {error.strerror}", "choose another --output")
