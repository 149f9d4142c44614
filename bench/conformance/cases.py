"""The golden plans."""

from __future__ import annotations

import base64
import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from care_mobile.frozen import Frozen

from ..protocol.plan import Plan, Round


class Case(Frozen):
    """See the package's docstring. `plan` stays as it is written, unknown keys and all."""

    name: str
    what: str
    proves: str
    round: int
    fails: tuple[Annotated[int, Field(ge=0)], ...]
    files: dict[str, str]
    plan: dict[str, Any]

    @property
    def read(self) -> Plan:
        """The plan as a host reads it."""
        return Plan.model_validate_json(json.dumps(self.plan))

    @property
    def planned(self) -> Round:
        return self.read.rounds[self.round]

    def contents(self) -> dict[str, bytes]:
        """Bytes of its files by path."""
        return {path: base64.b64decode(text) for path, text in self.files.items()}

    def lay_out(self, folder: Path) -> Path:
        """Write plan and files into `folder`; the plan's path."""
        for path, content in self.contents().items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        plan = folder / "plan.json"
        plan.write_text(json.dumps(self.plan, ensure_ascii=False), encoding="utf-8")
        return plan


@cache
def all_cases() -> tuple[Case, ...]:
    """In the order in which they run."""
    folder = resources.files(__package__) / "plans"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".json")), key=lambda f: f.name)
    return tuple(
        Case.model_validate(
            {"name": file.name.removesuffix(".json"), **json.loads(file.read_text("utf-8"))}
        )
        for file in files
    )
