"""Checks of blocks: their size, pauses, gate and retries."""

from __future__ import annotations

from itertools import groupby, pairwise

from ..protocol.arithmetic import burst_iterations, drifted
from ..protocol.events import Block
from ..protocol.plan import Gate, is_hotter
from .rounds import Absent, Finished


def _blocks(found: Finished) -> list[Block]:
    blocks = list(found.all(Block))
    if not blocks:
        raise Absent
    return blocks


def burst_size(found: Finished) -> str | None:
    blocks = _blocks(found)
    if found.plan.burst.mode == "single":
        raise Absent
    for block in blocks:
        for burst in block.bursts:
            latency = found.warm[burst.cell].latency_ns
            wanted, count = burst_iterations(latency, found.plan.burst), len(burst.samples_ns)
            if count != wanted:
                return (
                    f"block {block.block}, cell {burst.cell}: {count} inferences, and {wanted} "
                    f"at a warm latency of {latency} ns"
                )
    return None


def single(found: Finished) -> str | None:
    blocks = _blocks(found)
    if found.plan.burst.mode != "single":
        raise Absent
    for block in blocks:
        cells = [burst.cell for burst in block.bursts]
        wanted = min(
            burst_iterations(found.warm[cell].latency_ns, found.plan.burst) for cell in cells
        )
        counts = [len(burst.samples_ns) for burst in block.bursts]
        if set(counts) != {wanted}:
            return f"block {block.block}: {counts} inferences, and {wanted} of each were due"
        last_start = max(burst.start_ns for burst in block.bursts)
        first_end = min(burst.end_ns for burst in block.bursts)
        if last_start > first_end:
            return f"block {block.block}: a cell began when another had ended"
    return None


def pause(found: Finished) -> str | None:
    pause_ns = found.plan.burst.pause_ns
    alone = found.plan.burst.mode == "bursts"
    for block in _blocks(found):
        bursts = block.bursts
        idle = [b.start_ns - a.end_ns for a, b in pairwise(bursts) if alone]
        idle.append(block.end_ns - max(burst.end_ns for burst in bursts))
        if min(idle) < pause_ns:
            return f"block {block.block}: {min(idle)} ns after a burst, and {pause_ns} were due"
    return None


def gate(found: Finished) -> str | None:
    for block in _blocks(found):
        problem = _gated(block, found.plan.gate)
        if problem is not None:
            return f"block {block.block}, attempt {block.attempt}: {problem}"
    return None


def _gated(block: Block, rules: Gate) -> str | None:
    states = [r.state or "" for r in (*block.before, *block.after) if r.kind == "thermal"]
    hot = any(is_hotter(state, rules.thermal) for state in states)
    before, after = block.control_before_ns, block.control_after_ns
    drift = False
    if rules.control_drift_permille is not None:
        if before is None or after is None:
            return "a time of the control kernel is missing"
        drift = drifted(before, after, rules.control_drift_permille)
    code = block.rejected.code if block.rejected else None
    if code is None and (hot or drift):
        return f"accepted, with {before} and {after} ns of the control kernel and states {states}"
    if (code == "thermal" and not hot) or (code == "control-drift" and (hot or not drift)):
        return f"rejected for {code}, with {before} and {after} ns and states {states}"
    return None


def retries(found: Finished) -> str | None:
    blocks = _blocks(found)
    if not found.ended:
        raise Absent
    most = found.plan.gate.retries
    for slot, group in groupby(blocks, key=lambda block: block.block):
        attempts = list(group)
        if [block.attempt for block in attempts] != list(range(len(attempts))):
            return f"block {slot}: attempts {[block.attempt for block in attempts]}"
        if any(block.rejected is None for block in attempts[:-1]):
            return f"block {slot}: an accepted block was tried again"
        if len(attempts) > most + 1:
            return f"block {slot}: {len(attempts)} attempts, and {most + 1} are granted"
        if attempts[-1].rejected is not None and len(attempts) <= most:
            return f"block {slot}: given up after {len(attempts)} of {most + 1} attempts"
    return None
