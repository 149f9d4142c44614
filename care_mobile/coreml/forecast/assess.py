"""All rules over all operations."""

from __future__ import annotations

from collections.abc import Mapping

from ...bundle import Outlook
from ..macs import operation_macs
from ..package import MLPackage
from ..program import Function
from ..types import ValueType
from .layout import padded_bytes, stored_bytes
from .registry import RULES
from .results import Finding, Forecast, OperationForecast, Severity
from .rule import Site


def forecast(package: MLPackage) -> Forecast:
    """What the Neural Engine may take of a program, and why not the rest.

    Every weight is read once, to find values that fp16 hardware treats badly.

    Raises:
        ModelFileError: if weights are missing or damaged.
    """
    operations, findings = [], []
    for site in _sites(package.main):
        found = [] if site.is_neutral() else _find(site)
        findings += found
        operations.append(
            OperationForecast(
                operation=site.operation.name,
                operator=site.operation.type,
                outlook=Outlook.NEUTRAL if site.is_neutral() else _outlook(found),
                macs=site.macs,
            )
        )
    fired = {finding.rule for finding in findings}
    return Forecast(
        macs=sum(operation.macs or 0 for operation in operations),
        uncounted=sum(operation.macs is None for operation in operations),
        wasted_bytes=_wasted(package.main.types()),
        operations=tuple(operations),
        findings=tuple(findings),
        rules=tuple(rule.info() for rule in RULES if rule.id in fired),
    )


def _sites(function: Function) -> list[Site]:
    types = function.types()
    operations = list(function.walk())
    producers = {named.name: operation for operation in operations for named in operation.outputs}
    return [
        Site(operation, types, producers, operation_macs(operation, types))
        for operation in operations
    ]


def _find(site: Site) -> list[Finding]:
    found = [rule.find(site) for rule in RULES]
    return [finding for finding in found if finding is not None]


def _outlook(findings: list[Finding]) -> Outlook:
    severities = {finding.severity for finding in findings}
    if Severity.UNLIKELY in severities:
        return Outlook.UNLIKELY
    return Outlook.DOUBTFUL if Severity.DOUBTFUL in severities else Outlook.EXPECTED


def _wasted(types: Mapping[str, ValueType]) -> int:
    return sum(padded_bytes(kind) - stored_bytes(kind) for kind in types.values())
