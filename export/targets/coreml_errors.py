"""coremltools' errors in one line that names the operator it stopped at."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from care_mobile.errors import TargetError, first_line

_CONVERTING = re.compile(r"converting '(?P<operator>[^']+)' op")


class _Listener(logging.Handler):
    """Keeps the operator that coremltools logs before it raises."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.operator: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        found = _CONVERTING.search(record.getMessage())
        self.operator = found["operator"] if found else self.operator


@contextmanager
def naming_the_operator(model: str) -> Iterator[None]:
    """Turn whatever coremltools raises inside the block into a TargetError.

    Raises:
        TargetError: naming the operator, if it was converting one.
    """
    from coremltools import _logger as logger

    listener = _Listener()
    logger.addHandler(listener)
    try:
        yield
    except Exception as error:  # ValueError, AssertionError, NotImplementedError and others
        reason = first_line(error)
        at = f" at the operator {listener.operator}" if listener.operator else ""
        raise TargetError(
            f"coremltools cannot convert {model}{at}: {reason}",
            "replace it in the network, or export to another target",
        ) from error
    finally:
        logger.removeHandler(listener)
