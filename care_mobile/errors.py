"""Errors a user can act on: one line that says what happened, one that says what to do.

Exit codes are part of the contract with scripts and CI:

====  ==========================================================
code  meaning
====  ==========================================================
0     done
1     a tool failed (a converter, the disk)
2     the request cannot be served as asked: names, values, files, a delegation budget
3     parity or an equivalence failed (a regression, in comparisons)
4     inconclusive (comparisons only, opt-in)
5     invalid evidence or missing infrastructure: a broken bundle, a missing package or device
130   interrupted; 143 ended by SIGTERM, 129 by SIGHUP, which clean up alike
====  ==========================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from .text import shortened

_LONGEST = 1500
"""Characters of a message; what files say in it could have any length."""


class CareError(Exception):
    """Base of all errors meant for the user.

    Args:
        message: what is wrong, in one line.
        hint: what to do about it, in one line.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(shortened(" ".join(message.split()), _LONGEST))
        self.hint = shortened(" ".join(hint.split()), _LONGEST)


class UsageError(CareError):
    """An argument that names nothing or has no meaning."""

    exit_code = 2


class CheckpointError(CareError):
    """A weights file that is missing, damaged, hostile or for another network."""

    exit_code = 2


class ModelError(CareError):
    """A network that cannot be built, traced or captured."""

    exit_code = 2


class OutputError(CareError):
    """A place that cannot be written."""

    exit_code = 1


class TargetError(CareError):
    """A converter that failed."""

    exit_code = 1


class DelegationError(CareError):
    """A program that a backend takes in more pieces, or less of it, than was asked for."""

    exit_code = 2


class EquivalenceError(CareError):
    """A reparameterization that changed the network's results."""

    exit_code = 3


class ParityError(CareError):
    """A bundle whose results differ from the reference by more than its precision allows."""

    exit_code = 3


class BundleError(CareError):
    """A bundle that is damaged, altered or not a bundle."""

    exit_code = 5


class ModelFileError(CareError):
    """A model file that is damaged, hostile, or of a kind that is not supported."""

    exit_code = 2


class MissingDependencyError(CareError):
    """A package this request needs is not installed or does not work here."""

    exit_code = 5


class RuntimeFailure(CareError):
    """A runtime that refused a bundle or failed while running it."""

    exit_code = 5


INTERRUPTED = 130


def first_line(error: BaseException, otherwise: str = "") -> str:
    """The first line of what a library's error says; if nothing, `otherwise` or its type."""
    return (str(error).strip() or otherwise or type(error).__name__).splitlines()[0]


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not in `known`, with the nearest ones."""
    choices = sorted(known)
    near = get_close_matches(name.lower(), choices, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(choices)}"
    return UsageError(f"unknown {kind} {name!r}", hint)
