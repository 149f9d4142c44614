from __future__ import annotations

import html
import re

import pytest
from golden_files import check_golden
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from care_mobile.bench.report.markdown import escaped, markdown
from care_mobile.text import visible

from .views import STATES, functional, hostile_names

HOSTILE = st.text(
    st.sampled_from(list("ab1 .:/@#<>&|[]()*_`~\\-+=!$%'\"\n\t\x1b\u202eé网")), max_size=30
)


def rendered(text: str) -> str:
    return str(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))


def words_in(page: str) -> str:
    return html.unescape(re.sub(r"<!-- -->|<[^>]*>", "", page))


@pytest.mark.parametrize("state", STATES)
def test_each_state_looks_as_committed(state: str) -> None:
    check_golden(f"bench/report/{state}.md", markdown(STATES[state]()))


@pytest.mark.parametrize("state", STATES)
def test_there_is_one_table_before_the_fold_and_it_holds_each_cell(state: str) -> None:
    view = STATES[state]()
    page = rendered(markdown(view))
    before, _, folded = page.partition("<details>")
    assert before.count("<table>") == 1
    assert before.count("<tr>") == len(view.rows) + 1
    assert folded.count("</details>") == 1
    assert all(row.label in words_in(before) for row in view.rows)


def test_names_make_no_elements_mentions_or_references() -> None:
    page = rendered(markdown(hostile_names()))
    assert {"script", "b", "em", "code", "a"}.isdisjoint(re.findall(r"</?(\w+)", page))
    assert not re.search(r"@\w|#\d|\w://", words_in(page.replace("<!-- -->", "\0")))


@given(HOSTILE)
def test_any_name_is_shown_as_it_is(name: str) -> None:
    shown = " ".join(visible(name).split())
    for template in ("- {}\n", "| a |\n|---|\n| x{}x |\n", "**x{}x**\n"):
        page = rendered(template.format(escaped(name)))
        assert shown in " ".join(words_in(page).split())
        assert set(re.findall(r"<(\w+)", page)) <= set(
            re.findall(r"<(\w+)", rendered(template.format("x")))
        )


def test_a_functional_run_shows_no_time() -> None:
    assert " ms" not in markdown(functional())
