"""What can be said of a Core ML bundle where nothing measures it: counts, and a forecast."""

from __future__ import annotations

from care_mobile.bundle import Census, ForecastSummary, Manifest, Outlook

_MOST_TYPES = 5


def counts_and_forecast(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """Notes of a cell: codes and details for people."""
    notes = [("operations", _counts(manifest.census))]
    if manifest.forecast is not None:
        notes.append(("forecast", _outlook(manifest.forecast)))
    return tuple(notes)


def _counts(census: Census) -> str:
    """The most frequent first; of those that are as frequent, by name."""
    types = sorted(census.by_type.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{count} {kind}" for kind, count in types[:_MOST_TYPES]]
    others = census.total - sum(count for _, count in types[:_MOST_TYPES])
    if others > 0:
        named.append(f"{others} others")
    return f"{census.total} in the file: {', '.join(named)}" if named else f"{census.total}"


def _outlook(forecast: ForecastSummary) -> str:
    counts = forecast.operations
    parts = [
        f"{counts[outlook]} {outlook.value}"
        for outlook in (Outlook.EXPECTED, Outlook.DOUBTFUL, Outlook.UNLIKELY)
        if counts.get(outlook)
    ]
    share = forecast.macs_share.get(Outlook.EXPECTED)
    macs = "" if share is None else f", with {share:.1%} of the multiply-accumulates expected"
    rules = ", ".join(f"{count} {rule}" for rule, count in sorted(forecast.findings.items()))
    found = f"; findings: {rules}" if rules else ""
    return (
        f"Neural Engine, by static rules and not measured: {', '.join(parts) or 'nothing'}"
        f"{macs}{found}"
    )
