"""A forecast of what Core ML gives to the Neural Engine: static rules over an ML Program.

Apple publishes no list of what its Neural Engine takes. What is here are documented advice and
rules of thumb; only `MLComputePlan` on a Mac, or a device, tells the truth.
"""

from ...bundle import Outlook
from .assess import forecast
from .registry import RULES
from .results import (
    Finding,
    Forecast,
    OperationForecast,
    RuleInfo,
    Severity,
)
from .rule import Rule

__all__ = [
    "RULES",
    "Finding",
    "Forecast",
    "OperationForecast",
    "Outlook",
    "Rule",
    "RuleInfo",
    "Severity",
    "forecast",
]
