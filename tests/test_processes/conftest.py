"""The classifiers of grey are those of the evaluations' tests."""

from __future__ import annotations

from test_evaluation.conftest import classifier

__all__ = ["classifier"]
