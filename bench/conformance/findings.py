"""What was seen of each rule, over all rounds."""

from __future__ import annotations

from care_mobile.text import shortened, visible

from .results import Check, Outcome
from .rules import RULES

_LONGEST = 300


class Findings:
    """Rules that were kept, and the first thing that was seen of each that was broken."""

    def __init__(self) -> None:
        self._kept: set[str] = set()
        self._broken: dict[str, str] = {}

    def note(self, rule: str, problem: str | None, where: str) -> bool:
        """Note that `rule` was kept `where`, or what the problem is; whether it was kept."""
        assert rule in RULES, rule
        if problem is None:
            self._kept.add(rule)
            return True
        said = shortened(visible(" ".join(problem.split())), _LONGEST)
        self._broken.setdefault(rule, f"{where}: {said}")
        return False

    def check(self, rule: str) -> Check:
        outcome, detail = Outcome.NOT_RUN, "no round could be read that would show it"
        if rule in self._broken:
            outcome, detail = Outcome.BROKEN, self._broken[rule]
        elif rule in self._kept:
            outcome, detail = Outcome.KEPT, ""
        text, section = RULES[rule]
        return Check(name=rule, outcome=outcome, detail=detail, clause=text, section=section)
