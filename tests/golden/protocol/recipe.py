"""The golden files of the protocol, written as a harness in any language writes them.

`files()` gives every file's content by its name below this folder; nothing here uses the models.
`CARE_UPDATE_GOLDEN=1 pytest tests/test_bench/test_protocol/test_golden.py` writes them anew.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

SESSION = "20260102T030405Z-00c0ffee"
DATE = "2026-01-02T03:04:05Z"
MAX = 2**63 - 1
Line = dict[str, Any]


def files() -> dict[str, bytes]:
    """Name -> content."""
    made = {"plan.json": _json(plan())}
    manifest: dict[str, Any] = {
        "about": (
            "What a reader says of each file, given plan.json, the round and the launch. `events` "
            "are lines of known kinds that count, `unknown` those of other kinds; `code` is the "
            "error's. Files of `cut-off` have no `end` and are read as far as they go."
        ),
        "launch": "launch-N for round N",
    }
    for folder, cases in (("valid", valid()), ("cut-off", cut_off()), ("invalid", invalid())):
        manifest[folder] = {}
        for name, (content, said) in cases.items():
            made[f"{folder}/{name}.jsonl"] = content
            manifest[folder][f"{folder}/{name}.jsonl"] = said
    made["rounds.json"] = _json(manifest)
    return made


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


# The plan: two cells that do nothing, so that every harness can run it without a model.


def plan() -> dict[str, Any]:
    burst = [[0, 1], [1, 0]]
    rounds = [
        {"number": 0, "replicate": 0, "load": "cached", "cells": [0, 1], "blocks": burst},
        {
            "number": 1,
            "replicate": 1,
            "load": "cold",
            "cells": [1, 0],
            "blocks": burst[::-1],
            "phases": ["burst", "paced", "sustained"],
        },
        {"number": 2, "replicate": 2, "load": "first", "cells": [0], "blocks": [[0]]},
    ]
    for found in rounds:
        found.setdefault("phases", ["burst"])
    return {
        "protocol": 2,
        "minor": 0,
        "session": SESSION,
        "created": DATE,
        "preset": "custom",
        "seed": 7,
        "cells": [_cell("a", "base"), _cell("b", "head")],
        "rounds": rounds,
        "files": [{"path": "probes/ramp/x.bin", "sha256": RAMP_SHA256, "size_bytes": 24}],
        "warmup": {
            "window": 2,
            "tolerance_permille": 20,
            "min_iterations": 4,
            "min_ns": 1_000_000,
            "max_iterations": 50,
            "max_ns": 50_000_000,
        },
        "burst": {
            "mode": "bursts",
            "target_ns": 10_000,
            "min_iterations": 2,
            "max_iterations": 3,
            "pause_ns": 0,
        },
        "paced": {"interval_ns": 1_000_000, "count": 2},
        "sustained": {"duration_ns": 1_000_000},
        "gate": {
            "thermal": "nominal",
            "control_ns": 1000,
            "control_iterations": None,
            "control_drift_permille": 50,
            "retries": 1,
            "cooldown_ns": 0,
            "max_cooldown_ns": 0,
        },
        "answer_elements": 4,
    }


RAMP = struct.pack("<6f", 0, 0.5, 1, 1.5, 2, 2.5)
RAMP_SHA256 = "03b8e98a10217e51d8ecef7919de69ba80c52b25ee49ce0886ecfe0ddeacd4ac"


def _cell(name: str, role: str) -> dict[str, Any]:
    tensor = {"name": "x", "dtype": "float32", "shape": [2, 3]}
    return {
        "id": name,
        "label": f"nothing ({name})",
        "role": role,
        "bundle": {
            "name": name,
            "content_sha256": None,
            "model": "noop",
            "target": "noop",
            "precision": "fp32",
            "resolution": "3x2",
            "weights_source": "none",
            "random_weights": False,
            "size_bytes": 0,
        },
        "engine": "noop",
        "folder": None,
        "model": None,
        "inputs": [{**tensor, "kind": "tensor"}],
        "outputs": [{**tensor, "kind": "tensor"}],
        "probes": [
            {"name": "ramp", "inputs": [{**tensor, "path": "probes/ramp/x.bin"}], "judged": True}
        ],
        "unit": "cpu",
        "threads": 1,
        "cores": [0] if name == "b" else None,
    }


# Rounds.


class Story:
    """Lines of a round; `n` and a clock that goes on by 1000 ns a line are filled in."""

    def __init__(self, number: int = 0) -> None:
        self.round = number
        self.lines: list[Line] = []

    def say(self, event: str, **more: Any) -> Story:
        n = len(self.lines)
        self.lines.append({"event": event, "n": n, "at_ns": 1000 * n, **more})
        return self

    def hello(self, **more: Any) -> Story:
        said = {
            "protocol": 2,
            "minor": 0,
            "session": SESSION,
            "round": self.round,
            "launch": f"launch-{self.round}",
            "started": DATE,
            "harness": {"name": "golden", "version": "1", "language": "recipe"},
            "clock": {"name": "steps", "resolution_ns": 1},
            "machine": {
                "model": "none",
                "reality": "script",
                "os": "none 1",
                "os_build": "1",
                "architecture": "none",
                "soc": "none",
                "cores": 1,
            },
        }
        return self.say("hello", **said, **more)

    def control(self) -> Story:
        """1024 steps of the kernel from its seed."""
        return self.say("control", iterations=1024, checksum=CONTROL_1024, control_ns=900)

    def load(self, cell: int, **more: Any) -> Story:
        engine = {"name": "noop", "version": "1"}
        return self.say("loaded", cell=cell, kind="cached", load_ns=10, engine=engine, **more)

    def check(self, cell: int, moment: str = "before", **more: Any) -> Story:
        answer = {"name": "x", "dtype": "float32", "shape": [2, 3], "stride": 5}
        data = b"".join(RAMP[4 * i : 4 * i + 4] for i in (0, 5))
        answer["data"] = base64.b64encode(data).decode()
        return self.say("checked", cell=cell, probe="ramp", moment=moment, answers=[answer], **more)

    def warm(self, cell: int, latency_ns: int = 100) -> Story:
        return self.say(
            "warm",
            cell=cell,
            iterations=4,
            first_ns=2 * latency_ns,
            latency_ns=latency_ns,
            total_ns=5 * latency_ns,
            steady=True,
        )

    def block(self, block: int, cells: list[int], **more: Any) -> Story:
        """Each burst holds three inferences of 100 ns."""
        now = 1000 * len(self.lines)
        bursts = [
            {
                "cell": cell,
                "start_ns": now - 900 + 400 * place,
                "end_ns": now - 550 + 400 * place,
                "samples_ns": [100, 110, 105],
            }
            for place, cell in enumerate(cells)
        ]
        times = {"start_ns": now - 1000, "end_ns": now}
        return self.say("block", **{"block": block, **times, "bursts": bursts, **more})

    def end(self) -> Story:
        return self.say("end", events=len(self.lines))

    def ready(self, cells: list[int]) -> Story:
        """From hello until all cells are warm."""
        self.hello().control()
        for cell in cells:
            self.load(cell).check(cell)
        for cell in cells:
            self.warm(cell)
        return self

    def done(self, cells: list[int]) -> Story:
        for cell in cells:
            self.check(cell, "after")
        return self.end()

    def text(self) -> bytes:
        return b"".join(
            json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
            for line in self.lines
        )

    def case(self, **said: Any) -> tuple[bytes, dict[str, Any]]:
        return self.text(), {"round": self.round, **said}

    def fine(self, unknown: int = 0) -> tuple[bytes, dict[str, Any]]:
        return self.case(events=len(self.lines) - unknown, unknown=unknown)


CONTROL_1024 = "b2a20676d77125cb"
Cases = dict[str, tuple[bytes, dict[str, Any]]]


def whole() -> Story:
    """Round 0 as it usually is."""
    return Story().ready([0, 1]).block(0, [0, 1]).block(1, [1, 0]).done([0, 1])


def small() -> Story:
    """Round 2: one cell, one block, nothing that may be left out."""
    story = Story(2).hello().control().load(0).check(0).warm(0).block(0, [0])
    return story.done([0])


def every_event() -> Story:
    """Round 1: all kinds of events with all that they can say."""
    temperature = {"at_ns": 0, "kind": "temperature", "name": "cpu", "value": 41_500}
    thermal = {"at_ns": 0, "kind": "thermal", "state": "nominal"}
    battery = {"at_ns": 0, "kind": "battery", "name": "", "value": 870, "state": "charging"}
    story = Story(1).hello(readings=[temperature, thermal, battery]).control()
    story.lines[0]["machine"] |= {"memory_bytes": 8 * 2**30}
    story.load(
        1,
        compile_ns=5,
        unit="cpu",
        threads=1,
        cores=[0],
        placement={"cpu": 3, "npu": 0},
        memory_bytes=2**20,
    )
    story.lines[-1]["kind"] = "cold"
    story.lines[-1]["engine"] = {"name": "noop", "version": "1", "backend": "nothing"}
    story.check(1).load(0, unit=None, threads=None, cores=None, placement=None).check(0)
    story.say("note", code="affinity-not-supported", detail="asked for 0", cell=1)
    story.say("note", code="something-else")
    story.say("reading", readings=[temperature, {"at_ns": 1, "kind": "of-tomorrow", "value": -1}])
    story.warm(1).warm(0)
    for block, cells in enumerate(([1, 0], [0, 1])):
        story.block(
            block,
            cells,
            attempt=0,
            control_before_ns=900,
            control_after_ns=901,
            before=[thermal],
            after=[thermal, temperature],
            rejected=None,
        )
        story.lines[-1]["bursts"][0]["cpu_ns"] = 320
    for cell in (1, 0):
        story.say(
            "paced",
            cell=cell,
            start_ns=1000,
            interval_ns=1_000_000,
            samples_ns=[100, 120],
            late_ns=[0, 7],
            cpu_ns=230,
            before=[thermal],
            after=[thermal],
        )
    for cell in (1, 0):
        now = 1000 * len(story.lines)
        for stretch in (0, 1):
            story.say(
                "sustained",
                cell=cell,
                start_ns=now - 800 + 1000 * stretch,
                end_ns=now - 300 + 1000 * stretch,
                samples_ns=[100, 101, 102, 103],
                cpu_ns=410,
                after=[temperature],
            )
    return story.done([1, 0])


def valid() -> Cases:
    rejected = {"code": "control-drift", "detail": "900 ns before, 1200 ns after"}
    retried = Story().ready([0, 1]).block(0, [0, 1], rejected=rejected)
    retried.block(0, [0, 1], attempt=1).block(1, [1, 0], rejected=rejected)
    retried.block(1, [1, 0], attempt=1, rejected=rejected).done([0, 1])

    unloadable = Story().hello().control().load(0).check(0)
    unloadable.say("failed", cell=1, code="no-such-engine", detail="nothing here runs it")
    unloadable.warm(0).block(0, [0]).block(1, [0]).done([0])

    in_the_middle = Story().ready([0, 1]).block(0, [0, 1])
    in_the_middle.say("failed", cell=1, code="engine-failed").block(1, [0]).done([0])

    nothing = Story().hello().control()
    nothing.say("failed", cell=0, code="no-such-engine")
    nothing.say("failed", cell=1, code="no-such-engine").end()

    launch = Story().hello().say("failed", code="storage-full", detail="no space left").end()

    tomorrow = whole()
    tomorrow.lines[0] |= {"minor": 7, "mood": {"of": ["the", "harness"]}}
    tomorrow.lines[2]["dreams"] = [1.5, None, -1]
    tomorrow.lines[-1:] = []
    tomorrow.say("dreamt", cell=99, of="sheep", value=0.5).end()

    zero = small()
    for line in zero.lines:
        line["at_ns"] = 0
    zero.lines[2]["load_ns"] = zero.lines[1]["control_ns"] = 0
    zero.lines[4] |= {"first_ns": 0, "latency_ns": 0, "total_ns": 0}
    zero.lines[5] |= {"start_ns": 0, "end_ns": 0}
    zero.lines[5]["bursts"] = [{"cell": 0, "start_ns": 0, "end_ns": 0, "samples_ns": [0, 0]}]

    huge = small()
    for line in huge.lines[5:]:
        line["at_ns"] = MAX
    huge.lines[2]["load_ns"] = MAX
    huge.lines[5] |= {"start_ns": 6000, "end_ns": MAX}
    huge.lines[5]["bursts"] = [
        {"cell": 0, "start_ns": 6000, "end_ns": MAX, "samples_ns": [MAX - 6001, 1]}
    ]

    single = Story().ready([0, 1])
    for block, cells in enumerate(([0, 1], [1, 0])):
        single.block(block, cells)
        for burst in single.lines[-1]["bursts"]:
            now = single.lines[-1]["at_ns"]
            burst |= {"start_ns": now - 900, "end_ns": now - 100}
    single.done([0, 1])

    spaced = small()
    text = "".join(json.dumps(dict(reversed(line.items()))) + " \r\n" for line in spaced.lines)
    return {
        "whole": whole().fine(),
        "small": small().fine(),
        "every-event": every_event().fine(),
        "rejected-blocks": retried.fine(),
        "cell-cannot-load": unloadable.fine(),
        "cell-fails-in-the-middle": in_the_middle.fine(),
        "all-cells-fail": nothing.fine(),
        "launch-fails": launch.fine(),
        "unknown-keys-and-kinds": tomorrow.fine(unknown=1),
        "zero-times": zero.fine(),
        "largest-times": huge.fine(),
        "single-inferences": single.fine(),
        "spaces-and-other-order": (text.encode(), spaced.fine()[1]),
    }


def cut_off() -> Cases:
    text = whole().text()
    starts = [0, *(i + 1 for i, byte in enumerate(text) if byte == 0x0A)]

    def case(length: int) -> tuple[bytes, dict[str, Any]]:
        content = text[:length]
        return content, {"round": 0, "events": content.count(b"\n"), "unknown": 0}

    return {
        "after-hello": case(starts[1]),
        "after-a-block": case(starts[9]),
        "in-a-block": case(starts[9] + 100),
        "before-the-end": case(starts[12]),
        "in-the-end": case(len(text) - 3),
        "before-the-last-line-break": case(len(text) - 1),
    }


def invalid() -> Cases:
    return dict(_invalid())


def _invalid() -> Iterator[tuple[str, tuple[bytes, dict[str, Any]]]]:
    def wrong(code: str, line: int = 0, story: Story | None = None, **change: Any) -> Any:
        found = story or whole()
        found.lines[line] |= change
        return found.case(code=code)

    # 0 hello, 1 control, 2 loaded 0, 3 checked, 4 loaded 1, 5 checked, 6 warm, 7 warm, 8 block,
    # 9 block, 10 checked, 11 checked, 12 end
    yield "other-session", wrong("stale", session="20250101T000000Z-00000000")
    yield "other-round", wrong("stale", round=2)
    yield "other-launch", wrong("stale", launch="launch-1")
    yield "other-major", wrong("other-version", protocol=3, hello={"in": "another shape"})
    yield "older-major", wrong("other-version", protocol=1)
    yield "major-in-words", wrong("garbled", protocol="2")

    yield "empty-line", (whole().text().replace(b"\n", b"\n\n", 1), _code("garbled"))
    yield "not-json", (b"loading the model ...\n" + whole().text(), _code("garbled"))
    log = whole().text().splitlines(keepends=True)
    log.insert(8, b"W tflite: falling back to the CPU\n")
    yield "log-between", (b"".join(log), _code("garbled"))
    torn = whole().text().splitlines(keepends=True)
    torn[8] = torn[8][:60] + b"I/native: hello from a runtime\n"
    yield "log-in-a-line", (b"".join(torn), _code("garbled"))
    yield "not-utf-8", (whole().text().replace(b'"golden"', b'"g\xff\xfeld"', 1), _code("garbled"))
    yield "lone-surrogate", (
        whole().text().replace(b'"golden"', b'"\\ud800"', 1),
        _code("garbled"),
    )
    yield "byte-order-mark", (b"\xef\xbb\xbf" + whole().text(), _code("garbled"))
    yield "null-bytes", (b"\0" * 64 + b"\n" + whole().text(), _code("garbled"))
    yield "no-object", (b"[1,2,3]\n" + whole().text(), _code("garbled"))
    yield "event-is-a-number", wrong("garbled", 3, event=7)
    nested = whole().text().splitlines(keepends=True)
    nested[1] = b'{"event":"note","n":1,"at_ns":1000,"deep":' + b"[" * 5000 + b"]" * 5000 + b"}\n"
    yield "deep-nesting", (b"".join(nested), _code("garbled"))

    yield "no-hello", (b"".join(whole().text().splitlines(keepends=True)[1:]), _code("no-hello"))
    second = Story().hello().hello().end()
    yield "two-hellos", second.case(code="no-hello")
    yield "unknown-kind-first", wrong("no-hello", event="greeting")

    lines = whole().text().splitlines(keepends=True)
    yield "swapped-lines", (
        b"".join([*lines[:6], lines[7], lines[6], *lines[8:]]),
        _code("out-of-order"),
    )
    yield "duplicate-line", (b"".join([*lines[:9], *lines[8:]]), _code("out-of-order"))
    yield "missing-line", (b"".join([*lines[:8], *lines[9:]]), _code("out-of-order"))
    yield "time-goes-back", wrong("time-went-back", 7, at_ns=5999)

    for name, value in (
        ("negative", -1),
        ("float", 6000.5),
        ("whole-float", 6000.0),
        ("beyond-64-bits", 2**63),
        ("text", "6000"),
        ("true", True),
        ("null", None),
    ):
        yield f"time-is-{name}", wrong("garbled", 6, at_ns=value)
    text = whole().text()
    for name, raw in (
        ("nan", b"NaN"),
        ("infinite", b"Infinity"),
        ("exponent", b"1e2"),
        ("enormous", b"1" + b"0" * 5000),
        ("negative", b"-100"),
    ):
        yield f"sample-is-{name}", (text.replace(b"[100,", b"[" + raw + b",", 1), _code("garbled"))
    yield "no-samples", (text.replace(b"[100,110,105]", b"[]", 1), _code("garbled"))

    def burst(**change: Any) -> Story:
        story = whole()
        story.lines[8]["bursts"][0] |= change
        return story

    yield "burst-shorter-than-its-samples", burst(end_ns=7414).case(code="garbled")
    yield "burst-outside-its-block", burst(start_ns=6999).case(code="garbled")
    yield "burst-ends-before-it-starts", burst(start_ns=7500, end_ns=7400).case(code="garbled")
    yield "block-ends-after-it-is-written", wrong("garbled", 8, end_ns=8001)
    yield "blocks-overlap", wrong("time-went-back", 9, start_ns=7999)

    yield "unknown-cell", Story().hello().control().load(2).case(code="unknown-cell")
    not_here = Story(2).hello().control().load(1)
    yield "cell-of-another-round", not_here.case(code="unknown-cell")
    yield "unknown-probe", wrong("unknown-probe", 3, probe="slope")
    twice = Story().hello().control().load(0).load(0)
    yield "loaded-twice", twice.case(code="wrong-order")
    yield "warm-before-loaded", Story().hello().control().warm(0).case(code="wrong-order")
    yield "warm-twice", Story().ready([0, 1]).warm(0).case(code="wrong-order")
    yield "checked-before-loaded", Story().hello().control().check(0).case(code="wrong-order")
    late = Story().hello().control().load(0).say("failed", cell=0, code="x").check(0)
    yield "checked-after-it-failed", late.case(code="wrong-order")

    yield "load-without-its-time", wrong("garbled", 2, load_ns=None)
    cold = Story().hello().control().load(0).load(1).warm(0).block(0, [0, 1])
    yield "block-of-a-cold-cell", cold.case(code="wrong-order")
    yield "cells-in-another-order", Story().ready([0, 1]).block(0, [1, 0]).case(code="wrong-order")
    yield "cell-twice-in-a-block", Story().ready([0, 1]).block(0, [0, 0]).case(code="wrong-order")
    yield "cell-left-out", Story().ready([0, 1]).block(0, [0]).case(code="wrong-order")
    yield "unknown-block", wrong("unknown-block", 9, block=2)
    yield "block-left-out", Story().ready([0, 1]).block(1, [1, 0]).case(code="wrong-order")
    again = Story().ready([0, 1]).block(0, [0, 1]).block(0, [0, 1], attempt=1)
    yield "again-though-accepted", again.case(code="wrong-order")
    no_reason = Story().ready([0, 1]).block(0, [0, 1], attempt=1)
    yield "second-attempt-first", no_reason.case(code="wrong-order")
    paced = {"start_ns": 0, "interval_ns": 1, "samples_ns": [1]}
    not_planned = Story().ready([0, 1]).block(0, [0, 1]).block(1, [1, 0])
    yield "phase-not-planned", not_planned.say("paced", cell=0, **paced).case(code="wrong-order")
    uneven = Story(1).ready([1, 0]).block(0, [1, 0]).block(1, [0, 1])
    uneven.say("paced", cell=1, **paced, late_ns=[1, 2])
    yield "more-delays-than-samples", uneven.case(code="garbled")

    yield "lines-after-the-end", (text + lines[-1], _code("after-end"))
    yield "text-after-the-end", (text + b"bye\n", _code("garbled"))
    yield "end-miscounts", wrong("lines-missing", -1, events=11)
    measured = Story().ready([0, 1]).block(0, [0, 1]).block(1, [1, 0])
    yield "ends-without-checking-again", measured.check(0, "after").end().case(code="check-missing")
    unchecked = Story().hello().control().load(0).load(1).check(1).warm(0).warm(1)
    unchecked.block(0, [0, 1]).block(1, [1, 0]).done([0, 1])
    yield "measured-without-a-check", unchecked.case(code="check-missing")
    twice = Story().hello().control().load(0).check(0).check(0)
    yield "checked-twice", twice.case(code="wrong-order")
    yield "ends-without-measuring", Story().hello().control().end().case(code="cell-missing")
    yield "ends-without-a-block", Story().ready([0, 1]).block(0, [0, 1]).end().case(
        code="blocks-missing"
    )
    yield "ends-without-a-phase", Story(1).ready([1, 0]).block(0, [1, 0]).block(
        1, [0, 1]
    ).end().case(code="phase-missing")


def _code(code: str) -> dict[str, Any]:
    return {"round": 0, "code": code}
