"""Committed files that outputs are compared with."""

from __future__ import annotations

import os
from pathlib import Path

UPDATE = "CARE_UPDATE_GOLDEN"
FOLDER = Path(__file__).parent / "golden"


def check_file(file: Path, text: str) -> None:
    """Compare text with a committed file; rewrite it when `CARE_UPDATE_GOLDEN` is set."""
    if UPDATE in os.environ:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == text, f"set {UPDATE}=1 if {file} should change"


def check_golden(name: str, text: str) -> None:
    """`check_file` for `golden/<name>`, without the blanks that end a table's lines."""
    check_file(FOLDER / name, "".join(f"{line.rstrip()}\n" for line in text.splitlines()))
