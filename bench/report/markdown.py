"""The result for a pull request: the sentence, one table, the rest folded."""

from __future__ import annotations

import re
from collections.abc import Iterator

from care_mobile.text import visible

from .columns import NAME, Column, shared, tables
from .view import SessionView
from .words import caveats, circumstances, headline, legend, remarks

_ACTIVE = re.compile(r"([\\`*_{}\[\]|~!$])")
_AT_START = re.compile(r"^([-+=#]|\d+(?=[.)]))")
_LINKED = re.compile(r"[@#](?=\w)|:(?=//)|:(?=[a-z+-][\w+-]*:)|\bwww(?=\.)", re.IGNORECASE)
"""What a forge makes mentions, references, links and pictures of, after Markdown: a backslash does
not stop it, a comment inside does."""
_MOST_FOLDED = 200
"""Findings that are listed: a comment has a limit, and nobody reads more."""


def markdown(view: SessionView) -> str:
    """The view as GitHub's Markdown; names are data, never markup."""
    return "\n".join(_lines(view)) + "\n"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in a line."""
    line = " ".join(visible(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = _AT_START.sub(_apart, _ACTIVE.sub(r"\\\1", line))
    return _LINKED.sub(lambda found: f"{found[0]}<!-- -->", line)


def _apart(found: re.Match[str]) -> str:
    start = found[0]
    return f"{start}<!-- -->" if start.isdigit() else f"\\{start}"


def _lines(view: SessionView) -> Iterator[str]:
    title = headline(view)
    if title is not None:
        yield f"> **{escaped(title)}**"
        yield ""
    yield f"**{escaped(view.conclusion.text)}**"
    yield ""
    main, *others = tables(view) or [[]]
    if main:
        yield from _table(main)
        yield ""
    told = list(remarks(view))
    for level in ("invalid", "warning"):
        count = sum(remark.level == level for remark in told)
        if count:
            yield f"{count} {level}{'s' * (level == 'warning' and count > 1)}, see below."
            yield ""
    for line in (*caveats(view), *legend(view)):
        yield f"- {escaped(line)}"
    yield ""
    yield "<details><summary>How it was measured, and findings</summary>"
    yield ""
    for line in (*circumstances(view), shared(view)):
        if line:
            yield f"- {escaped(line)}"
    for remark in told[:_MOST_FOLDED]:
        level = "" if remark.level == "info" else f"**{remark.level}**: "
        yield f"- {level}{escaped(remark.text)}"
    if len(told) > _MOST_FOLDED:
        yield f"- and {len(told) - _MOST_FOLDED} more, in the record"
    yield f"- session {escaped(view.session)}, {escaped(view.started)}"
    for table in others:
        yield ""
        yield from _table(table)
    yield ""
    yield "</details>"


def _table(columns: list[Column]) -> Iterator[str]:
    yield _row([escaped(column.title) for column in columns])
    yield _row(["---:" if column.right else ":---" for column in columns])
    for cells in zip(*(column.cells for column in columns), strict=True):
        yield _row([_cell(column, cell) for column, cell in zip(columns, cells, strict=True)])


def _cell(column: Column, cell: str) -> str:
    """Names may hold anything; figures are ours, but for `~`, which would strike through."""
    return escaped(cell) if column.title == NAME or not column.right else cell.replace("~", r"\~")


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
