"""`python -m care_mobile.bench.harness --plan F --round N --launch ID --output F`.

Exit status: 0 when the file ended with `end`, 1 when it cannot be written, 2 when the request
cannot be served; then there is no file. What stands on the console is for people.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from care_mobile.errors import CareError, UsageError

ORIGIN_NS = time.perf_counter_ns()
_LAUNCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", re.ASCII)


class Request(NamedTuple):
    plan: Path
    round: int
    launch: str
    output: Path
    reality: str | None = None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, "see --help")


def parse(arguments: Sequence[str]) -> Request:
    """Raises UsageError."""
    parser = _Parser(
        prog="care_mobile.bench.harness",
        description="Measure one round of a plan.",
        allow_abbrev=False,
    )
    parser.add_argument("--plan", type=Path, required=True, metavar="FILE")
    parser.add_argument("--round", type=int, required=True, metavar="N", help="from 0")
    parser.add_argument("--launch", required=True, metavar="ID", help="new for every launch")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="a new file")
    parser.add_argument(
        "--reality",
        choices=("simulator", "emulator", "interpreter"),
        help="what starts it is no real machine: for devices that tell no latency",
    )
    given = parser.parse_args(arguments)
    if not _LAUNCH.fullmatch(given.launch):
        raise UsageError("--launch takes letters, digits, dots, dashes and underscores")
    return Request(given.plan, given.round, given.launch, given.output, given.reality)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a round; the exit status."""
    try:
        request = parse(sys.argv[1:] if arguments is None else arguments)
        from .launch import measure  # pydantic and numpy take a while

        measure(
            request.plan,
            request.round,
            request.launch,
            request.output,
            ORIGIN_NS,
            reality=request.reality,
        )
    except CareError as error:
        hint = f"; {error.hint}" if error.hint else ""
        print(f"error: {error}{hint}", file=sys.stderr)
        return error.exit_code
    return 0


def _alone() -> None:
    """This process is set aside for the round: a signal ends it at once, and it may crash."""
    from care_mobile.importing import expendable

    expendable()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    _alone()
    raise SystemExit(main())
