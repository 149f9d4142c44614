"""A picture of a session: the rounds' medians of each cell, and their ratios with intervals."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from care_mobile.errors import UsageError
from care_mobile.requirements import load
from care_mobile.text import shortened, visible

from .figures import percent
from .view import Relation, RowView, SessionView
from .words import against, headline, where

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
MAX_ROWS = 60
LABEL = 40
_COLOURS = {
    Relation.REFERENCE: "#333333",
    Relation.FASTER: "#1b7837",
    Relation.SLOWER: "#b2182b",
    Relation.EQUAL: "#6f6f6f",
    Relation.UNCLEAR: "#b07c00",
}
_INVALID = "#a8a8a8"
WIDE = 10
"""From this ratio of the greatest to the least on, an axis is logarithmic."""
_STYLE = {
    "font.size": 9.0,
    # Names hold any script; what the font lacks is a box, not an error.
    "text.usetex": False,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "care-mobile",
}


def check_plot(file: Path) -> None:
    """Whether a picture could be drawn into `file`, before anything is measured.

    Raises:
        UsageError: for a suffix that is none of `SUFFIXES`.
        MissingDependencyError: if matplotlib is missing.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"{file.name} does not end in {', '.join(SUFFIXES)}", "name the picture so that it does"
        )
    if not file.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {file.parent}", "choose another --plot")
    load("matplotlib", "plot")


def picture(view: SessionView, suffix: str) -> bytes:
    """The picture as a file of this suffix holds it; the same view gives the same picture.

    Raises:
        MissingDependencyError: if matplotlib is missing.
    """
    matplotlib: Any = load("matplotlib", "plot")
    with matplotlib.rc_context(_STYLE):
        figure = draw(view)
        out = BytesIO()
        kind = suffix.lower().lstrip(".")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about letters that the font lacks
            figure.savefig(out, format=kind, dpi=150, metadata=_NO_DATE.get(kind))
    return out.getvalue()


_NO_DATE: dict[str, dict[str, None]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def draw(view: SessionView) -> Figure:
    """The figure, without pyplot: nothing global changes and no window opens."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in view.rows if row.latency is not None][:MAX_ROWS]
    compared = any(row.ratio and row.ratio.relation is not Relation.REFERENCE for row in rows)
    figure = Figure(figsize=(10 if compared else 7, 1.9 + 0.42 * max(len(rows), 2)))
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained")
    _titles(figure, view, len(rows))
    if not rows:
        return figure
    panels = figure.subplots(1, 2 if compared else 1, sharey=True, squeeze=False)[0]
    _strip(panels[0], view, rows)
    if compared:
        _forest(panels[1], view, rows)
    return figure


def _titles(figure: Figure, view: SessionView, shown: int) -> None:
    title = headline(view)
    if title is not None:
        figure.suptitle(title, fontsize=10, fontweight="bold", color="#b2182b")
    left = f", the first {shown} cells" if shown == MAX_ROWS < len(view.rows) else ""
    rounds = f"{view.rounds_completed} of {view.rounds_planned} rounds"
    sentence = fill(shortened(visible(view.conclusion.text), 300), 110, break_on_hyphens=False)
    below = f"{sentence}\n{shortened(visible(where(view)), 110)}\n{rounds}{left}"
    figure.supxlabel(below, fontsize=8)


def _strip(axes: Axes, view: SessionView, rows: Sequence[RowView]) -> None:
    for place, row in enumerate(rows):
        found = row.latency
        assert found is not None
        colour = _colour(row)
        medians = [each.median_ns / 1e6 for each in found.rounds]
        axes.plot(medians, _spread(place, len(medians)), "o", ms=4, color=colour, alpha=0.55)
        axes.plot([found.median_ns / 1e6], [place], "|", ms=16, mew=2, color=colour)
        if found.low_ns is not None and found.high_ns is not None:
            axes.plot([found.low_ns / 1e6, found.high_ns / 1e6], [place] * 2, color=colour, lw=1.5)
    axes.set_yticks(range(len(rows)), [_label(row) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    word = "scripted" if any(row.latency and not row.latency.measured for row in rows) else "median"
    axes.set_xlabel(f"{word} of each round, ms")
    _scale(axes, [row.latency.median_ns for row in rows if row.latency])


def _forest(axes: Axes, view: SessionView, rows: Sequence[RowView]) -> None:
    axes.axvspan(1 / (1 + view.margin), 1 + view.margin, color="#000000", alpha=0.07, lw=0)
    axes.axvline(1, color="#000000", lw=0.8)
    for place, row in enumerate(rows):
        found = row.ratio
        if found is None:
            continue
        colour = _colour(row)
        if found.relation is Relation.REFERENCE:
            axes.plot([1], [place], "D", ms=5, color=colour)
            continue
        places = _spread(place, len(found.replicates))
        axes.plot(found.replicates, places, "o", ms=3, color=colour, alpha=0.4)
        axes.plot([found.ratio], [place], "s", ms=5, color=colour)
        if found.low is not None and found.high is not None:
            axes.plot([found.low, found.high], [place] * 2, color=colour, lw=2)
    axes.tick_params(labelleft=False)
    axes.set_xlabel(f"{against(view)}: times as long (grey: within {percent(view.margin)})")
    _scale(axes, [row.ratio.ratio for row in rows if row.ratio])


def _scale(axes: Axes, values: Sequence[float]) -> None:
    axes.margins(x=0.08)
    axes.grid(axis="x", alpha=0.3)
    if values and min(values) > 0 and max(values) >= WIDE * min(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")  # the usual one writes formulas
        axes.xaxis.set_minor_formatter("")
    else:
        axes.locator_params(axis="x", nbins=6)


def _spread(place: int, count: int) -> list[float]:
    """Heights around a row's own, in the order of rounds from above."""
    return [place + 0.3 * ((k + 0.5) / count - 0.5) * 2 for k in range(count)]


def _colour(row: RowView) -> str:
    if not row.valid:
        return _INVALID
    return _COLOURS[row.ratio.relation] if row.ratio else _COLOURS[Relation.REFERENCE]


def _label(row: RowView) -> str:
    mark = "" if row.valid else " (invalid)"
    return f"{shortened(visible(row.label), LABEL)}{mark}"
