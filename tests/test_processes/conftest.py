"""The classifiers of grey are those of the evaluations' tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from test_evaluation.conftest import classifier

__all__ = ["classifier"]


@pytest.fixture(autouse=True)
def _default_signals() -> Iterator[None]:
    """Signals as a terminal gives them; under `nohup` SIGHUP is ignored, by children too."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
