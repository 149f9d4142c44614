"""The tables as text, before anybody draws them: which columns there are and what is in them."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import NamedTuple

from ..protocol.plan import LoadKind, Role
from ..protocol.record import RecordKind
from . import figures
from .figures import ms
from .view import AnswerState, Relation, RowView, SessionView, SustainedView
from .words import against

EMPTY = "-"
NAME = "cell"
UNKNOWN = "unknown"
NEEDED = 40


class Column(NamedTuple):
    """`keep` tells what a narrow page leaves out: below `NEEDED`; the rest moves to a table below,
    lowest first; from 100 on it stays."""

    title: str
    cells: tuple[str, ...]
    right: bool = True
    keep: int = 100


Cell = Callable[[RowView], str]


def tables(view: SessionView) -> list[list[Column]]:
    """Latency, circumstances, and other phases; a column or table that says nothing is left out,
    and so is what is the same for all cells, which `shared` says."""
    same = {title for title, _ in _shared_columns(view)}
    found = [
        _said(view, _latency_columns(view), ()),
        _said(view, _side_columns(view), same),
        _said(view, _told_columns(), ()),
        _said(view, _phase_columns(), ()),
    ]
    return [table for table in found if any(column.title not in ("#", NAME) for column in table)]


def shared(view: SessionView) -> str:
    """How all cells ran, where that is one thing."""
    words = {"engine": "{}", "threads": "threads: {}", "cores": "pinned to {}"}
    return ", ".join(
        words.get(title, f"{title} {{}}").format(cell) for title, cell in _shared_columns(view)
    )


def _shared_columns(view: SessionView) -> list[tuple[str, str]]:
    found = []
    for title, cell, _, _ in _how_columns(view):
        texts = {cell(row) for row in view.rows}
        if len(texts) == 1 and texts != {EMPTY}:
            found.append((title, texts.pop()))
    return found


Specification = tuple[tuple[str, Cell, bool, int], ...]


def _said(view: SessionView, specification: Specification, without: Container[str]) -> list[Column]:
    columns = [Column(NAME, tuple(row.label for row in view.rows), right=False)]
    for title, cell, right, keep in specification:
        texts = tuple(cell(row) for row in view.rows)
        if set(texts) != {EMPTY} and title not in without:
            columns.append(Column(_marked(view, title), texts, right, keep))
    if len(columns) > 1 and columns[1].title == "#":
        columns[:2] = columns[1], columns[0]
    return columns


def _marked(view: SessionView, title: str) -> str:
    """A title of times that says so where they were played from a script."""
    scripted = view.kind is RecordKind.SCRIPTED and title.endswith(" ms")
    return f"scripted {title.removeprefix('median ')}" if scripted else title


def _latency_columns(view: SessionView) -> Specification:
    compared = any(r.ratio and r.ratio.relation is not Relation.REFERENCE for r in view.rows)
    return (
        ("#", _rank, True, 100),
        ("role", lambda r: EMPTY if r.role is Role.NONE else r.role.value, False, 50),
        ("median ms", _state, True, 100),
        ("p10", lambda r: ms(r.latency.p10_ns) if r.latency else EMPTY, True, 10),
        ("p90", lambda r: ms(r.latency.p90_ns) if r.latency else EMPTY, True, 80),
        ("p99", _p99, True, 60),
        ("min", lambda r: ms(r.latency.min_ns) if r.latency else EMPTY, True, 20),
        ("samples", lambda r: f"{r.latency.samples:,}" if r.latency else EMPTY, True, 30),
        (
            against(view),
            lambda r: figures.ratio(r.ratio) if compared and r.ratio else EMPTY,
            True,
            99,
        ),
    )


def _rank(row: RowView) -> str:
    return EMPTY if row.rank is None else str(row.rank)


def _state(row: RowView) -> str:
    """The figure; in its place why there is none, after it that it does not count."""
    if row.latency is not None:
        return f"{'' if row.valid else 'invalid: '}{figures.latency(row.latency)}"
    if row.failures:
        return "failed"
    return EMPTY if row.valid else "invalid"


def _p99(row: RowView) -> str:
    if row.latency is None or row.latency.p99_ns is None:
        return EMPTY
    return ms(row.latency.p99_ns)


def _how_columns(view: SessionView) -> Specification:
    """What an imported record does not know was not asked for either."""
    foreign = view.kind is RecordKind.IMPORTED

    def known(cell: Cell, observed: Callable[[RowView], object]) -> Cell:
        return lambda row: EMPTY if foreign and observed(row) is None else cell(row)

    return (
        ("engine", _engine, False, 80),
        ("unit", known(_unit, lambda r: r.unit_observed), False, 70),
        ("threads", known(_threads, lambda r: r.threads_observed), True, 45),
        ("cores", _cores, False, 44),
    )


def _side_columns(view: SessionView) -> Specification:
    loads = [
        (f"{kind.value} load ms", _load(kind), True, keep)
        for kind, keep in zip(LoadKind, (64, 63, 62, 61), strict=True)
    ]
    return (
        *_how_columns(view),
        *loads,
        ("memory", _memory, True, 50),
        ("size", _size, True, 30),
        ("answers", _answers, False, 90),
    )


def _size(row: RowView) -> str:
    return figures.size(row.bundle.size_bytes) if row.bundle.size_bytes else EMPTY


def _engine(row: RowView) -> str:
    if row.engine == UNKNOWN:
        return EMPTY
    version = f" {row.engine_version}" if row.engine_version not in (None, UNKNOWN) else ""
    return f"{row.engine}{version}{f' ({row.backend})' if row.backend else ''}"


def _unit(row: RowView) -> str:
    asked, observed = row.unit_asked.value, row.unit_observed
    if observed is None:
        return f"{asked}?"
    return asked if observed is row.unit_asked else f"{asked} -> {observed.value}"


def _threads(row: RowView) -> str:
    asked, observed = row.threads_asked, row.threads_observed
    return str(asked) if observed in (None, asked) else f"{asked} -> {observed}"


def _cores(row: RowView) -> str:
    if row.cores_asked is None:
        return EMPTY
    asked = ",".join(map(str, row.cores_asked))
    if row.cores_observed is None:
        return f"{asked}?"
    observed = ",".join(map(str, row.cores_observed))
    return asked if asked == observed else f"{asked} -> {observed}"


def _load(kind: LoadKind) -> Cell:
    def told(row: RowView) -> str:
        return next((ms(load.median_ns) for load in row.loads if load.kind is kind), EMPTY)

    return told


def _memory(row: RowView) -> str:
    """Of the process with nothing else loaded."""
    if row.memory is None or row.memory.alone_bytes is None:
        return EMPTY
    return figures.size(row.memory.alone_bytes)


def _answers(row: RowView) -> str:
    found = row.answers
    if found.state is AnswerState.UNCHECKED:
        return "unchecked"
    state = "right" if found.state is AnswerState.VERIFIED else "WRONG"
    sampled = ", sampled" if found.partial else ""
    if found.worst_psnr_db is None:
        return f"{state}{sampled}"
    return f"{state} {found.worst_psnr_db:.1f} dB{sampled}"


def _phase_columns() -> Specification:
    def sustained(cell: Callable[[SustainedView], str]) -> Cell:
        return lambda row: cell(row.sustained) if row.sustained else EMPTY

    return (
        ("paced ms", lambda r: ms(r.paced.median_ns) if r.paced else EMPTY, True, 90),
        ("p90", lambda r: ms(r.paced.p90_ns) if r.paced else EMPTY, True, 60),
        ("late", _late, True, 55),
        ("sustained: first ms", sustained(lambda s: ms(s.first_ns)), True, 80),
        ("last ms", sustained(lambda s: ms(s.last_ns)), True, 80),
        ("times", sustained(lambda s: f"{s.slowdown:.2f}"), True, 80),
        ("over", sustained(lambda s: figures.seconds(s.duration_ns)), True, 30),
        ("MLPerf p90 ms", _single_stream, True, 95),
    )


def _late(row: RowView) -> str:
    if row.paced is None or row.paced.late_share is None:
        return EMPTY
    return f"{row.paced.late_share * 100:.1f} %"


def _single_stream(row: RowView) -> str:
    found = row.single_stream
    if found is None:
        return EMPTY
    return ms(found.p90_ns) if found.complete else f"{ms(found.p90_ns)} (too short)"


def _told_columns() -> Specification:
    def of(field: str) -> Cell:
        def cell(row: RowView) -> str:
            found = next((told for told in row.told if told.what == "latency"), None)
            value = getattr(found, field, None)
            return EMPTY if value is None else ms(value)

        return cell

    def count(row: RowView) -> str:
        found = next((told for told in row.told if told.what == "latency"), None)
        return EMPTY if found is None or found.count is None else f"{found.count:,}"

    return (
        ("tool's figure ms", of("figure_ns"), True, 100),
        ("tool's mean ms", of("mean_ns"), True, 99),
        ("tool's median", of("median_ns"), True, 90),
        ("tool's p90", of("p90_ns"), True, 80),
        ("tool's p99", of("p99_ns"), True, 60),
        ("tool's min", of("min_ns"), True, 50),
        ("tool's max", of("max_ns"), True, 49),
        ("runs", count, True, 50),
    )
