"""One row per cell, plain numbers, for spreadsheets and data frames (RFC 4180)."""

from __future__ import annotations

import csv
from collections.abc import Callable
from io import StringIO

from care_mobile.text import visible

from ..protocol.plan import LoadKind
from .view import LatencyView, RowView, SessionView

_TOLD = ("count", "figure_ns", "mean_ns", "median_ns", "p90_ns", "p99_ns")
Value = str | int | float | bool | None
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "|", "＝", "＋", "－", "＠")
"""What makes a spreadsheet compute a text, or run it."""


def table_csv(view: SessionView) -> str:
    """The rows in the view's order under a line of titles; what is not known is empty.

    A text that a spreadsheet would take for a formula gets an apostrophe before it. Every row says
    of which kind its record is, so that a scripted figure stays one when rows are merged.
    """
    out = StringIO()
    writer = csv.writer(out)  # lines end with CRLF, as the format wants
    writer.writerow(_TITLES)
    for row in view.rows:
        writer.writerow([_safe(value) for value in _values(view, row)])
    return out.getvalue()


def _safe(value: Value) -> Value:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return value
    text = " ".join(visible(value).split())
    return f"'{text}" if text.startswith(_FORMULA) else text


def _values(view: SessionView, row: RowView) -> list[Value]:
    return [value(view, row) for _, value in _COLUMNS]


def _latency(of: str) -> Callable[[SessionView, RowView], Value]:
    return lambda view, row: getattr(row.latency, of, None)


def _in_ms(of: str) -> Callable[[SessionView, RowView], Value]:
    def value(view: SessionView, row: RowView) -> Value:
        found = getattr(row.latency, of, None)
        return None if found is None else found / 1e6

    return value


def _load(kind: LoadKind) -> Callable[[SessionView, RowView], Value]:
    def value(view: SessionView, row: RowView) -> Value:
        return next((load.median_ns for load in row.loads if load.kind is kind), None)

    return value


def _told(of: str) -> Callable[[SessionView, RowView], Value]:
    """Another tool's own figure."""

    def value(view: SessionView, row: RowView) -> Value:
        found = next((told for told in row.told if told.what == "latency"), None)
        return getattr(found, of, None)

    return value


def _rounds(found: LatencyView | None) -> int | None:
    return None if found is None else len(found.rounds)


_COLUMNS: tuple[tuple[str, Callable[[SessionView, RowView], Value]], ...] = (
    ("session", lambda v, r: v.session),
    ("started", lambda v, r: v.started),
    ("kind", lambda v, r: v.kind.value),
    ("device", lambda v, r: v.device.kind),
    ("machine", lambda v, r: (v.machine.model or v.machine.soc) if v.machine else None),
    ("index", lambda v, r: r.index),
    ("cell", lambda v, r: r.label),
    ("role", lambda v, r: r.role.value),
    ("bundle", lambda v, r: r.bundle.name),
    ("content_sha256", lambda v, r: r.bundle.content_sha256),
    ("model", lambda v, r: r.bundle.model),
    ("target", lambda v, r: r.bundle.target),
    ("precision", lambda v, r: r.bundle.precision),
    ("resolution", lambda v, r: r.bundle.resolution),
    ("size_bytes", lambda v, r: r.bundle.size_bytes),
    ("engine", lambda v, r: r.engine),
    ("engine_version", lambda v, r: r.engine_version),
    ("backend", lambda v, r: r.backend),
    ("unit_asked", lambda v, r: r.unit_asked.value),
    ("unit_observed", lambda v, r: r.unit_observed.value if r.unit_observed else None),
    ("threads_asked", lambda v, r: r.threads_asked),
    ("threads_observed", lambda v, r: r.threads_observed),
    ("valid", lambda v, r: r.valid),
    ("rank", lambda v, r: r.rank),
    ("median_ms", _in_ms("median_ns")),
    ("median_ns", _latency("median_ns")),
    ("low_ns", _latency("low_ns")),
    ("high_ns", _latency("high_ns")),
    ("p10_ns", _latency("p10_ns")),
    ("p90_ms", _in_ms("p90_ns")),
    ("p90_ns", _latency("p90_ns")),
    ("p99_ms", _in_ms("p99_ns")),
    ("p99_ns", _latency("p99_ns")),
    ("min_ns", _latency("min_ns")),
    ("samples", _latency("samples")),
    ("rounds", lambda v, r: _rounds(r.latency)),
    ("reference", lambda v, r: r.ratio.reference if r.ratio else None),
    ("relation", lambda v, r: r.ratio.relation.value if r.ratio else None),
    ("ratio", lambda v, r: r.ratio.ratio if r.ratio else None),
    ("ratio_low", lambda v, r: r.ratio.low if r.ratio else None),
    ("ratio_high", lambda v, r: r.ratio.high if r.ratio else None),
    *((f"load_{kind.value}_ns", _load(kind)) for kind in LoadKind),
    ("memory_bytes", lambda v, r: r.memory.alone_bytes if r.memory else None),
    ("paced_median_ns", lambda v, r: r.paced.median_ns if r.paced else None),
    ("paced_p90_ns", lambda v, r: r.paced.p90_ns if r.paced else None),
    ("sustained_first_ns", lambda v, r: r.sustained.first_ns if r.sustained else None),
    ("sustained_last_ns", lambda v, r: r.sustained.last_ns if r.sustained else None),
    ("mlperf_p90_ns", lambda v, r: r.single_stream.p90_ns if r.single_stream else None),
    *((f"told_{of}", _told(of)) for of in _TOLD),
    ("answers", lambda v, r: r.answers.state.value),
    ("worst_psnr_db", lambda v, r: r.answers.worst_psnr_db),
)
_TITLES = [title for title, _ in _COLUMNS]
