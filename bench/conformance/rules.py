"""What is checked, in the words of docs/harness-protocol.md (a test holds the two together)."""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """A check by name, what it asks for, and the section that says so."""

    text: str
    section: str


RULES: dict[str, Rule] = {
    "ends": Rule(
        "A launch with good arguments exits by itself, with status 0, and its file is "
        "finished with `end`",
        "Starting",
    ),
    "lines": Rule(
        "Every line is one JSON object with fields, types and bounds of this page",
        "The file",
    ),
    "hello": Rule(
        "The first line, and no other, is `hello`; session, round and launch are those of "
        "this launch",
        "hello",
    ),
    "numbering": Rule(
        "`n` counts the lines from 0 without gaps; `end` says how many are before it, and "
        "none follows",
        "The file",
    ),
    "clock": Rule(
        "`at_ns` never goes back, begins with the process, and is in nanoseconds",
        "The clock",
    ),
    "order": Rule(
        "Lines come in the order of the round: each step once per cell, in the order of "
        "loading; blocks in their order, their cells in the order of the row",
        "The round",
    ),
    "load": Rule(
        "A cell of noop says that its load was `cached` where that is wished, and else `unproven`",
        "Cell",
    ),
    "control": Rule(
        "The control kernel has the iterations that the gate asks for, and the right result",
        "The control kernel",
    ),
    "answers": Rule(
        "Each judged probe is answered before, the first one after; name, type, shape, stride "
        "and data are right",
        "checked",
    ),
    "warm-up": Rule(
        "A warm-up ends where `warm_state` ends it, and says whether it is steady",
        "Warming up",
    ),
    "burst-size": Rule(
        "A burst has `burst_iterations` of the cell's warm latency as many inferences",
        "Arithmetic",
    ),
    "pause": Rule(
        "After each burst nothing is measured for `pause_ns`",
        "Blocks",
    ),
    "single": Rule(
        "In mode `single` the cells take turns, and each has as many inferences as the "
        "smallest burst size",
        "Blocks",
    ),
    "gate": Rule(
        "A block is rejected if, and only if, the gate says so",
        "Blocks",
    ),
    "retries": Rule(
        "A rejected block is tried again in its slot, at most `retries` times; an accepted "
        "one is not",
        "Blocks",
    ),
    "paced": Rule(
        "A paced run has `count` inferences, none of which begins before it is due",
        "Paced runs",
    ),
    "sustained": Rule(
        "A sustained run lasts `duration_ns` and has `min_count` inferences, in stretches "
        "that do not overlap",
        "Sustained runs",
    ),
    "failed-cell": Rule(
        "A cell that cannot be loaded, or has more outputs than a line has answers, is `failed`; "
        "nothing more is said of it, and the other cells go on",
        "When something fails",
    ),
    "unknown-keys": Rule(
        "Keys that are not known, and a higher minor version, change nothing",
        "The plan",
    ),
    "other-major": Rule(
        "A plan of another major version is refused: a status that is not 0, and no file",
        "The plan",
    ),
    "bad-arguments": Rule(
        "A round that the plan has not, an argument that is missing or unknown, a launch that is "
        "no id, or a plan that is no JSON, is refused: a status that is not 0, and no file",
        "Starting",
    ),
    "existing-file": Rule(
        "A file that exists is left as it is: a status that is not 0",
        "Starting",
    ),
    "on-disk": Rule(
        "Every line is handed to the system when it is written",
        "The file",
    ),
    "terminated": Rule(
        "SIGTERM ends the harness at once: no `end`, a status that is not 0",
        "Starting",
    ),
    "one-file": Rule(
        "Nothing else in the plan's folder is written, changed or removed; the output may lie in "
        "another folder",
        "Starting",
    ),
    "no-leftovers": Rule(
        "No process is left when the harness has exited",
        "Starting",
    ),
}
