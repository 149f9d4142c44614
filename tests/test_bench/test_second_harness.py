"""A harness in another language, written from `docs/harness-protocol.md` alone, is held to it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from care_mobile.bench.conformance import Outcome, run_conformance

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "second_harness"
PAGE = (ROOT / "docs" / "harness-protocol.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"^(?P<name>[a-z_]+)\((?P<arguments>.*)\) = (?P<result>\S+)$", re.MULTILINE)
NODE = shutil.which("node")

# Calls come in as [name in JavaScript, arguments]; their results go out as one list.
CALL_ALL = """
import * as arithmetic from "./arithmetic.mjs";
import fs from "node:fs";
const calls = JSON.parse(fs.readFileSync(0, "utf-8"));
console.log(JSON.stringify(calls.map(([name, given]) => arithmetic[name](...given))));
"""

pytestmark = pytest.mark.skipif(
    NODE is None, reason="node is not installed: the second harness is JavaScript"
)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part.title() for part in others)


def _warm_rules() -> dict[str, int]:
    """The rules of the page's examples of warm_state, which one sentence before them gives."""
    (sentence,) = re.findall(r"^With (`window` .*):$", PAGE, re.MULTILINE)
    return {name: int(value) for name, value in re.findall(r"`(\w+)` (\d+)", sentence)}


def _examples() -> list[tuple[str, list[object], object]]:
    """Name in JavaScript, arguments and result of each example of the page's arithmetic."""
    found = []
    for name, arguments, result in EXAMPLE.findall(PAGE):
        given: list[object] = json.loads(f"[{arguments}]")
        if name == "warm_state":
            given.append(_warm_rules())
        word = name in ("warm_state", "control")
        found.append((_camel(name), given, result if word else json.loads(result)))
    return found


def test_arithmetic_is_that_of_the_page() -> None:
    assert NODE is not None
    examples = _examples()
    assert {name for name, _, _ in examples} == {
        "median",
        "windowsAgree",
        "warmState",
        "warmLatencyNs",
        "burstIterations",
        "drifted",
        "answerStride",
        "control",
    }
    done = subprocess.run(
        [NODE, "--input-type=module", "--eval", CALL_ALL],
        cwd=FOLDER,
        input=json.dumps([[name, given] for name, given, _ in examples]),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    results = json.loads(done.stdout)
    assert results == [result for _, _, result in examples]


def test_it_keeps_every_rule_that_conformance_checks() -> None:
    assert NODE is not None
    result = run_conformance([NODE, str(FOLDER / "harness.mjs")])
    unkept = [
        f"{check.name}: {check.outcome.value}: {check.detail}"
        for check in result.checks
        if check.outcome is not Outcome.KEPT
    ]
    assert unkept == []
    page = PAGE[PAGE.index("## What conformance checks") :]
    assert [check.name for check in result.checks] == re.findall(r"^\| `([a-z-]+)` \|", page, re.M)
    assert result.harness is not None
    assert result.harness.name == "care-mobile-second"
