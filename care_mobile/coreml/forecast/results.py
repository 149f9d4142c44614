"""What a forecast consists of."""

from __future__ import annotations

from collections import Counter
from enum import Enum

from ...bundle import FORECAST_NOTE, ForecastSummary, Outlook
from ...frozen import Frozen


class Severity(str, Enum):
    """What a finding means: it costs time, memory or accuracy but the operation stays on the
    Neural Engine; the operation may leave it; it is believed to leave it.
    """

    COST = "cost"
    DOUBTFUL = "doubtful"
    UNLIKELY = "unlikely"


class Finding(Frozen):
    """A rule that fired for an operation, which is named by its first output."""

    rule: str
    operation: str
    operator: str
    severity: Severity
    reason: str
    fix: str


class OperationForecast(Frozen):
    """`macs` is None where shapes are known only at run time."""

    operation: str
    operator: str
    outlook: Outlook
    macs: int | None


class RuleInfo(Frozen):
    """A rule, and where it comes from."""

    id: str
    title: str
    source: str


class Forecast(Frozen):
    """The forecast for a program.

    Attributes:
        macs: of all operations whose shapes are known.
        uncounted: operations whose multiply-accumulates are not known.
        wasted_bytes: what padding the last axis to 64 bytes adds to all inputs and intermediate
            values together, if each is held so once.
        rules: those that fired.
    """

    note: str = FORECAST_NOTE
    macs: int
    uncounted: int
    wasted_bytes: int
    operations: tuple[OperationForecast, ...]
    findings: tuple[Finding, ...]
    rules: tuple[RuleInfo, ...]

    @property
    def outlooks(self) -> dict[Outlook, int]:
        """Operations by outlook; every outlook is there."""
        counts = Counter(operation.outlook for operation in self.operations)
        return {outlook: counts[outlook] for outlook in Outlook}

    @property
    def macs_share(self) -> dict[Outlook, float]:
        """Share of the known multiply-accumulates by outlook; empty when there are none."""
        if not self.macs:
            return {}
        sums: Counter[Outlook] = Counter()
        for operation in self.operations:
            sums[operation.outlook] += operation.macs or 0
        return {outlook: sums[outlook] / self.macs for outlook in Outlook}

    def summary(self) -> ForecastSummary:
        """The forecast without its operations."""
        counts = Counter(finding.rule for finding in self.findings)
        return ForecastSummary(
            operations=self.outlooks,
            macs_share={outlook: round(share, 6) for outlook, share in self.macs_share.items()},
            wasted_bytes=self.wasted_bytes,
            findings={rule.id: counts[rule.id] for rule in self.rules},
        )
