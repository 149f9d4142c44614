from __future__ import annotations

import pytest
from golden_files import check_file

from care_mobile.bench.report.view import SessionView, session_view_schema

from ..conftest import schema_file, schema_text
from .views import STATES


def test_the_schema_is_the_committed_one() -> None:
    check_file(schema_file("bench-result-v2.json"), schema_text(session_view_schema()))


@pytest.mark.parametrize("state", STATES)
def test_what_is_printed_reads_back(state: str) -> None:
    view = STATES[state]()
    assert SessionView.model_validate_json(view.model_dump_json()) == view
