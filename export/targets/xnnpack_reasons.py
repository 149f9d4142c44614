"""Why operations stay outside XNNPACK's partitions, in the words of its partitioner."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LOGGER = "executorch.backends.xnnpack.partition"
NO_RULE = "XNNPACK's partitioner has no rule for this operator"


class _Collector(logging.Handler):
    """Keeps what the partitioner says of each node; the first word stands."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.reasons: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        said: Any = record.msg  # executorch's WhyNoPartition, one object used again and again
        node = getattr(said, "node", None)
        if node is not None:
            self.reasons.setdefault(node.name, " ".join(str(said.reason).split()))


@contextmanager
def collected_reasons() -> Iterator[dict[str, str]]:
    """Reasons by node's name, filled while the block partitions a program."""
    logger = logging.getLogger(_LOGGER)
    level, propagates = logger.level, logger.propagate
    collector = _Collector()
    logger.addHandler(collector)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False  # nobody asked to read them
    try:
        yield collector.reasons
    finally:
        logger.removeHandler(collector)
        logger.setLevel(level)
        logger.propagate = propagates
