"""A harness of the noop engine in plain Python, from docs/harness-protocol.md alone.

`small_harness.py --break NAME ...` breaks one rule on purpose, so that tests see it found. It
imports nothing of this package, and nothing slow.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ORIGIN = time.monotonic_ns()

SIZES = {"float16": 2, "float32": 4, "float64": 8, "bool": 1}
SIZES |= {f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)}
SCALE = ["nominal", "light", "moderate", "severe", "critical", "emergency", "shutdown"]
WARMUP = {"window": 10, "tolerance_permille": 20, "min_iterations": 20, "min_ns": 10**9}
WARMUP |= {"max_iterations": 5000, "max_ns": 10**10}
BURST = {"mode": "bursts", "target_ns": 250_000_000, "min_iterations": 5, "max_iterations": 500}
BURST |= {"pause_ns": 20_000_000}
GATE = {"thermal": "nominal", "control_ns": 2_000_000, "control_iterations": None}
GATE |= {"control_drift_permille": 50, "retries": 1}
BROKEN = sys.argv[sys.argv.index("--break") + 1] if "--break" in sys.argv else ""


def broken(name: str) -> bool:
    return name == BROKEN


def now() -> int:
    return time.monotonic_ns() - ORIGIN


def infer() -> None:
    pass


def timed() -> int:
    begin = now()
    infer()
    return now() - begin


def median(samples: list[int]) -> int:
    ordered = sorted(samples)
    high = len(ordered) // 2
    return ordered[high] if len(ordered) % 2 else (ordered[high - 1] + ordered[high]) // 2


def agree(samples: list[int], window: int, permille: int) -> bool:
    size = min(window, len(samples) // 2)
    if size == 0:
        return False
    last, previous = median(samples[-size:]), median(samples[-2 * size : -size])
    return abs(last - previous) * 1000 <= permille * min(last, previous)


def kernel(iterations: int) -> int:
    state, mask = 0x9E3779B97F4A7C15, 2**64 - 1
    for _ in range(iterations):
        state ^= (state << 13) & mask
        state ^= state >> (9 if broken("wrong-kernel") else 7)
        state ^= (state << 17) & mask
    return state


def kernel_time(iterations: int) -> tuple[int, int]:
    times = []
    for _ in range(3):
        begin = now()
        state = kernel(iterations)
        times.append(now() - begin)
    return state, min(times)


class Round:
    def __init__(self, given: argparse.Namespace) -> None:
        plan = json.loads(given.plan.read_text(encoding="utf-8"))
        if plan.get("protocol", 2) != 2 and not broken("any-major"):
            raise SystemExit("another major version")
        if broken("strict-keys") and plan.get("minor", 0) > 0:
            raise SystemExit("an unknown version")
        self.round = dict(enumerate(plan["rounds"])).get(given.round)
        if self.round is None:
            if not broken("any-round"):
                raise SystemExit("no such round")
            self.round = plan["rounds"][0]
        self.plan, self.folder, self.given = plan, given.plan.parent, given
        self.warmup = WARMUP | plan.get("warmup", {})
        self.burst = BURST | plan.get("burst", {})
        self.gate = GATE | plan.get("gate", {})
        self.phases = self.round.get("phases", ["burst"])
        self.living: list[int] = []
        self.feeds: dict[int, dict[str, list[dict]]] = {}
        self.counts: dict[int, int] = {}
        self.lines = 0
        self.held: list[str] = []
        self.out = given.output.open("w" if broken("overwrites") else "x", encoding="utf-8")

    def emit(self, event: str, **fields: object) -> None:
        number = self.lines + (self.lines > 3 and broken("numbers"))
        at = now()
        if broken("clock-back") and event == "warm":
            at = 0
        if broken("epoch-clock"):
            at += 1_700_000_000 * 10**9
        line = {"event": event, "n": number, "at_ns": at, **fields}
        if broken("float-times") and event == "loaded":
            line["load_ns"] = 5.0
        if broken("microseconds"):
            line |= {key: line[key] // 1000 for key in ("at_ns", "start_ns") if key in line}
        text = json.dumps(line)
        if broken("garbage") and event == "loaded":
            text = "native library: " + text
        self.lines += 1
        if broken("buffers"):
            self.held.append(text)
            return
        self.out.write(text + "\n")
        self.out.flush()

    def run(self) -> None:
        self.emit(
            "hello",
            protocol=2,
            minor=0,
            session="yesterday" if broken("stale") else self.plan["session"],
            round=self.given.round,
            launch=self.given.launch,
            started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            harness={"name": "small", "version": "1", "language": "Python"},
            clock={"name": "CLOCK_MONOTONIC", "resolution_ns": 1},
            machine={
                "model": "",
                "os": sys.platform,
                "os_build": "",
                "architecture": "",
                "soc": "",
                "cores": os.cpu_count() or 1,
            },
        )
        self.calibrate()
        cells = self.round["cells"]
        for cell in sorted(cells) if broken("load-order") else cells:
            self.load(cell)
        for cell in list(self.living):
            self.warm(cell)
        for phase in self.phases if broken("phase-order") else ["burst", "paced", "sustained"]:
            if phase in self.phases:
                getattr(self, f"phase_{phase}")()
        for cell in list(self.living):
            judged = [
                p for p in self.plan["cells"][cell].get("probes", []) if p.get("judged", True)
            ]
            for probe in judged[: 0 if broken("no-last-check") else 1]:
                self.check(cell, probe, "after")
        if broken("no-end"):
            return
        self.emit("end", events=self.lines + broken("end-count"))
        if broken("after-end"):
            self.emit("note", code="late")
        self.out.writelines(line + "\n" for line in self.held)
        self.out.flush()

    def calibrate(self) -> None:
        wanted = self.gate["control_iterations"]
        count = wanted or (1000 if broken("odd-control") else 1024)
        state, took = kernel_time(count)
        while wanted is None and took < self.gate["control_ns"] and 2 * count < 2**31:
            if broken("no-calibration"):
                break
            count *= 2
            state, took = kernel_time(count)
        self.control = count
        self.emit("control", iterations=count, checksum=f"{state:016x}", control_ns=took)

    def load(self, cell: int) -> None:
        plan = self.plan["cells"][cell]
        begin = now()
        try:
            if plan["engine"] != "noop" and not broken("any-engine"):
                raise ValueError(f"no engine {plan['engine']}")
            self.feeds[cell] = {p["name"]: self.read(p) for p in plan.get("probes", [])}
            if any(len(f) > 64 for f in self.feeds[cell].values()) and not broken("any-count"):
                raise ValueError("more answers than a line may have")
        except (OSError, ValueError) as error:
            if broken("fails-all"):
                self.emit("failed", code="load-failed", detail=str(error))
            elif not broken("forgets-failed"):
                self.emit("failed", code="load-failed", detail=str(error), cell=cell)
            if broken("names-failed"):
                self.emit("note", code="sorry", cell=cell)
            return
        engine = {"name": "noop", "version": "1"}
        wished = self.round.get("load", "cached")
        self.emit(
            "loaded",
            cell=cell,
            kind=wished if wished == "cached" or broken("repeats-load") else "unproven",
            load_ns=now() - begin,
            engine=engine,
        )
        self.living.append(cell)
        for probe in plan.get("probes", []):
            if probe.get("judged", True) or broken("judges-all"):
                self.check(cell, probe, "before")

    def read(self, probe: dict) -> list[dict]:
        found = []
        for tensor in probe["inputs"]:
            content = (self.folder / tensor["path"]).read_bytes()
            count = 1
            for side in tensor["shape"]:
                count *= side
            if len(content) != count * SIZES[tensor["dtype"]] and not broken("any-size"):
                raise ValueError(f"{tensor['path']} has another size")
            found.append({**tensor, "content": content, "count": count})
        return found

    def check(self, cell: int, probe: dict, moment: str) -> None:
        limit = self.plan.get("answer_elements", 65_536)
        answers = []
        for tensor in self.feeds[cell][probe["name"]]:
            size, content = SIZES[tensor["dtype"]], tensor["content"]
            stride = max(1, (tensor["count"] + limit - 1) // limit)
            if broken("no-stride"):
                stride = 1
            if broken("first-elements"):
                data = content[: size * len(range(0, tensor["count"], stride))]
            else:
                data = b"".join(
                    content[at : at + size] for at in range(0, len(content), size * stride)
                )
            if broken("big-endian"):
                data = b"".join(data[i : i + size][::-1] for i in range(0, len(data), size))
            answers.append(
                {
                    "name": "y" if broken("answer-name") else tensor["name"],
                    "dtype": tensor["dtype"],
                    "shape": [tensor["count"]] if broken("flat-shape") else tensor["shape"],
                    "stride": stride,
                    "data": base64.b64encode(data)
                    .decode()
                    .rstrip("=" if broken("no-padding") else ""),
                }
            )
        self.emit("checked", cell=cell, probe=probe["name"], moment=moment, answers=answers)

    def warm(self, cell: int) -> None:
        rules, samples, begin = self.warmup, [], now()
        while True:
            samples.append(timed())
            took = now() - begin
            enough = len(samples) >= rules["min_iterations"] or took >= rules["min_ns"]
            steady = enough and agree(samples, rules["window"], rules["tolerance_permille"])
            if steady and not (broken("ten-more") and len(samples) < rules["min_iterations"] + 10):
                break
            if len(samples) >= rules["max_iterations"] or took >= rules["max_ns"]:
                break
        latency = median(samples[-rules["window"] :])
        fitting = self.burst["target_ns"] // max(latency, 1)
        if broken("rounds-up"):
            fitting += 1
        count = min(max(fitting, self.burst["min_iterations"]), self.burst["max_iterations"])
        self.counts[cell] = count
        self.emit(
            "warm",
            cell=cell,
            iterations=len(samples),
            first_ns=samples[0],
            latency_ns=latency,
            total_ns=took,
            steady=bool(steady) or broken("always-steady"),
        )

    def phase_burst(self) -> None:
        for slot, row in enumerate(self.round["blocks"]):
            order = [cell for cell in row if cell in self.living]
            if broken("row-order"):
                order.sort()
            for attempt in range(self.gate["retries"] + 1 + broken("one-more-try")):
                if not order or self.block(slot, attempt, order):
                    break
                if broken("never-retries"):
                    break

    def block(self, slot: int, attempt: int, order: list[int]) -> bool:
        permille = self.gate["control_drift_permille"]
        start = now()
        before = kernel_time(self.control)[1] if permille is not None else None
        bursts = self.turns(order) if self.burst["mode"] == "single" else self.bursts(order)
        after = kernel_time(self.control)[1] if permille is not None else None
        rejected = None
        if permille is not None and abs(after - before) * 1000 > permille * min(before, after):
            rejected = {"code": "control-drift"}
        if broken("no-gate"):
            rejected = None
        if broken("rejects-all"):
            rejected = {"code": "control-drift"}
        self.emit(
            "block",
            block=slot,
            attempt=attempt,
            start_ns=start,
            end_ns=now(),
            bursts=bursts,
            control_before_ns=before,
            control_after_ns=after,
            rejected=rejected,
        )
        return rejected is None

    def bursts(self, order: list[int]) -> list[dict]:
        bursts = []
        for cell in order:
            begin, cpu = now(), time.process_time_ns()
            samples = [timed() for _ in range(self.counts[cell])]
            spent, end = time.process_time_ns() - cpu, now()
            bursts.append(
                {
                    "cell": cell,
                    "start_ns": begin,
                    "end_ns": end,
                    "cpu_ns": spent,
                    "samples_ns": samples,
                }
            )
            if not broken("no-pause"):
                self.wait(now() + self.burst["pause_ns"])
        return bursts

    def turns(self, order: list[int]) -> list[dict]:
        if broken("no-turns"):
            return self.bursts(order)
        count = min(self.counts[cell] for cell in order)
        bursts = {
            cell: {"cell": cell, "start_ns": None, "end_ns": 0, "samples_ns": []} for cell in order
        }
        for _ in range(count):
            for burst in bursts.values():
                begin = now()
                infer()
                end = now()
                burst["samples_ns"].append(end - begin)
                burst["start_ns"] = begin if burst["start_ns"] is None else burst["start_ns"]
                burst["end_ns"] = end
        self.wait(now() + self.burst["pause_ns"])
        return list(bursts.values())

    def wait(self, until: int) -> None:
        while (left := until - now()) > 0:
            time.sleep(left / 1e9)

    def phase_paced(self) -> None:
        rules = {"interval_ns": 33_333_333, "count": 300} | (self.plan["paced"] or {})
        for cell in list(self.living):
            start, samples, late = now(), [], []
            for k in range(rules["count"] - broken("one-less")):
                due = start + k * rules["interval_ns"]
                if not broken("no-pace"):
                    self.wait(due)
                begin = now()
                samples.append(timed())
                late.append(max(0, begin - due))
            interval = rules["interval_ns"]
            self.emit(
                "paced",
                cell=cell,
                start_ns=start,
                interval_ns=interval,
                samples_ns=samples,
                late_ns=late,
            )

    def phase_sustained(self) -> None:
        rules = {"duration_ns": 60 * 10**9, "min_count": 1} | (self.plan["sustained"] or {})
        for cell in list(self.living):
            begin, done, last = now(), 0, now()
            while done < rules["min_count"] or now() - begin < rules["duration_ns"]:
                start, samples = now(), []
                while True:
                    samples.append(timed())
                    over = now() - begin >= rules["duration_ns"]
                    if (over and done + len(samples) >= rules["min_count"]) or broken("short-run"):
                        break
                    if now() - start > 20_000_000 or len(samples) == 100_000:
                        break
                done += len(samples)
                begins = max(last - 1, 0) if broken("overlaps") else start
                last = now()
                times = {"start_ns": begins, "end_ns": last}
                self.emit("sustained", cell=cell, **times, samples_ns=samples)
                if broken("short-run"):
                    break


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--break")
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--round", type=int, required=True)
    parser.add_argument("--launch", required=not broken("no-launch"), default="none")
    parser.add_argument("--output", type=Path, required=True)
    given, unknown = parser.parse_known_args()
    if unknown and not broken("any-argument"):
        raise SystemExit(f"unknown arguments {unknown}")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", given.launch) and not broken("any-id"):
        raise SystemExit("the launch is no id")
    if broken("beside-the-plan"):
        given.output = given.plan.parent / given.output.name
    if broken("hangs"):
        time.sleep(600)
    if broken("no-file"):
        return 0
    if broken("ignores-sigterm"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if broken("prints"):
        print("noise\n" * 200_000)
    round_ = Round(given)
    if broken("ends-on-sigterm"):
        signal.signal(
            signal.SIGTERM, lambda *_: (round_.emit("end", events=round_.lines), os._exit(1))
        )
    if broken("clean-on-sigterm"):
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if broken("leaves-a-child"):
        subprocess.Popen(
            [sys.executable, "-S", "-c", "import time; time.sleep(60)"], start_new_session=True
        )
    if broken("writes-beside"):
        (given.plan.parent / "cache.bin").write_bytes(b"1")
    if broken("changes-the-plan"):
        given.plan.write_text(given.plan.read_text(encoding="utf-8") + " ", encoding="utf-8")
    round_.run()
    return 1 if broken("bad-status") else 0


if __name__ == "__main__":
    raise SystemExit(main())
