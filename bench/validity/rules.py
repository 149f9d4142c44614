"""The rules as data: `docs/measuring.md` shows this table, and a test holds them together."""

from __future__ import annotations

from typing import NamedTuple

from .findings import FindingCode as Code
from .findings import Severity

INVALID, WARNING, INFO = Severity.INVALID, Severity.WARNING, Severity.INFO


class Rule(NamedTuple):
    """`severities` are those it can have, the worst first."""

    code: Code
    severities: tuple[Severity, ...]
    when: str
    why: str


RULES = (
    Rule(
        Code.WRONG_ANSWERS,
        (INVALID,),
        "an answer on a probe is further from the reference than the precision allows",
        "a network that computes something else is not fast, it is another network",
    ),
    Rule(
        Code.ANSWERS_UNCHECKED,
        (WARNING,),
        "no answer was judged in some or all rounds",
        "nobody knows what was computed there",
    ),
    Rule(
        Code.ANSWERS_PARTIAL,
        (INFO,),
        "only every so manieth element of an answer was judged",
        "what lies between was not seen",
    ),
    Rule(
        Code.CELL_FAILED,
        (INVALID, WARNING),
        "a cell failed in all rounds (invalid) or in some (warning)",
        "rounds in which a cell failed are no evidence for it",
    ),
    Rule(
        Code.UNIT_DIFFERS,
        (INVALID,),
        "the engine ran it on another unit than was asked for",
        "the figure would stand under the wrong name",
    ),
    Rule(
        Code.UNIT_UNKNOWN,
        (WARNING,),
        "an accelerator was asked for and the engine does not tell what ran",
        "engines fall back to the CPU without a word",
    ),
    Rule(
        Code.THREADS_DIFFER,
        (WARNING,),
        "the engine used another number of threads than was asked for",
        "threads decide the latency",
    ),
    Rule(
        Code.AFFINITY_NOT_SUPPORTED,
        (WARNING,),
        "cores were asked for and the process was not pinned to them",
        "big and little cores differ by factors",
    ),
    Rule(
        Code.PLACEMENT_CHANGED,
        (INVALID,),
        "unit, threads, cores or the operations on each unit differ between rounds",
        "rounds are samples of one thing; these are two",
    ),
    Rule(
        Code.ENGINE_CHANGED,
        (INVALID,),
        "engine, its version or its backend differ between rounds",
        "as above; a resumed session may meet an update",
    ),
    Rule(
        Code.MACHINE_CHANGED,
        (INVALID,),
        "machine, its system's build or the harness differ between rounds",
        "as above",
    ),
    Rule(
        Code.TOOLS_CHANGED,
        (WARNING,),
        "the session was resumed with other versions of tools on the host",
        "they decide how a session is planned and judged, not how fast the device is",
    ),
    Rule(
        Code.SIMULATOR,
        (INVALID,),
        "a record of latencies comes from a simulator",
        "it runs the host's code at the host's speed",
    ),
    Rule(
        Code.EMULATOR,
        (INVALID,),
        "a record of latencies comes from an emulator",
        "its time is not the device's",
    ),
    Rule(
        Code.INTERPRETER,
        (INVALID,),
        "a record of latencies comes from an interpreter",
        "its time is not the device's",
    ),
    Rule(
        Code.SCRIPT,
        (INVALID, INFO),
        "times were played from a script: in a record of latencies (invalid), or in one that says "
        "so (info)",
        "nothing was measured",
    ),
    Rule(
        Code.FUNCTIONAL,
        (INFO,),
        "the device tells whether answers are right and never how fast",
        "its record has no latencies",
    ),
    Rule(
        Code.REALITY_UNKNOWN,
        (WARNING,),
        "the harness does not say whether the machine is a real one",
        "it may be a simulator",
    ),
    Rule(
        Code.IMPORTED_LACKS,
        (WARNING,),
        "a record of another tool or an older version does not know something",
        "what is not known cannot be compared, nor found to be wrong",
    ),
    Rule(
        Code.THROTTLED,
        (INVALID, WARNING),
        "hotter than the gate allows: around a block that counts (invalid), or around a rejected "
        "block or elsewhere outside of a sustained run, in one that is the figure itself, or as "
        "the harness says (warning)",
        "a hot device lowers its clocks",
    ),
    Rule(
        Code.THERMAL_UNKNOWN,
        (WARNING, INFO),
        "the device does not tell its thermal state; a virtual machine has none (info)",
        "unknown is not nominal",
    ),
    Rule(
        Code.LOW_POWER,
        (INVALID,),
        "the device was saving power",
        "it lowers clocks and moves work to small cores",
    ),
    Rule(
        Code.NOT_IN_FOREGROUND,
        (INVALID,),
        "the harness was not in the foreground",
        "systems give what is in the background less, or other cores",
    ),
    Rule(
        Code.DEBUGGER,
        (INVALID,),
        "a debugger was attached",
        "it slows down calls and switches checks on",
    ),
    Rule(
        Code.CHARGING_CHANGED,
        (WARNING,),
        "the device was plugged in or unplugged meanwhile",
        "limits of power and heat differ",
    ),
    Rule(
        Code.SPEED_CHANGED,
        (WARNING,),
        "a step of the control kernel took over 5 % longer in one round than in another",
        "the machine itself was faster or slower then; ratios of a round feel it less",
    ),
    Rule(
        Code.TIMER_COARSE,
        (WARNING,),
        "a tick of the clock is over 1 % of the latency",
        "differences below a tick cannot be seen; 41.67 ns of Apple's clocks matter below 4.2 us",
    ),
    Rule(
        Code.MACHINE_BUSY,
        (INVALID, WARNING),
        "in half of the rounds the median is over twice the CPU time of an inference (invalid); "
        "CPU time below 90 % of the wall time of a cell's own inferences on the CPU, or in a round "
        "20 % below the cell's best; the load of others beyond half of the cores that are left; "
        "2 % of a core's time given away by a hypervisor",
        "the network waited for a core; on a busy machine figures were off by a factor of six",
    ),
    Rule(
        Code.BUSY_UNKNOWN,
        (WARNING,),
        "neither CPU time nor load nor steal is told",
        "a busy machine cannot be told from a slow network",
    ),
    Rule(
        Code.ROUNDS_LOST,
        (WARNING,),
        "launches crashed, timed out, were lost, or broke the protocol",
        "only completed rounds are evidence; those that were lost may have been the slow ones",
    ),
    Rule(
        Code.INTERRUPTED,
        (WARNING,),
        "the session was stopped before its last round",
        "the plan said beforehand how much evidence there is to be",
    ),
    Rule(
        Code.TOO_FEW_ROUNDS,
        (INVALID, WARNING),
        "no round is evidence (invalid), or fewer than 3 (warning)",
        "one load has no interval, and that of two is 12.7 standard errors wide",
    ),
    Rule(
        Code.TOO_FEW_SAMPLES,
        (WARNING,),
        "fewer than 30 inferences in all; with the preset mlperf 1,024 of 60 s",
        "medians and percentiles of so few are luck",
    ),
    Rule(
        Code.CONTROL_DRIFT,
        (WARNING, INFO),
        "blocks were rejected because the control kernel drifted: over 20 % (warning) or fewer",
        "the machine changed its speed within blocks",
    ),
    Rule(
        Code.BLOCKS_REJECTED,
        (WARNING, INFO),
        "blocks were rejected for another reason: over 20 % (warning) or fewer",
        "what is left may not be typical",
    ),
    Rule(
        Code.SLOTS_LOST,
        (WARNING,),
        "planned blocks were never accepted",
        "there is less evidence than planned, and orders are balanced over all blocks only",
    ),
    Rule(
        Code.WARM_UP_CAPPED,
        (WARNING,),
        "the warm-up was given up before the latency held still",
        "what follows may still be getting faster",
    ),
    Rule(
        Code.STEP,
        (WARNING,),
        "in the middle of a round the latency changed for good, by over 5 %",
        "the round's median is of two states",
    ),
    Rule(
        Code.NO_STEADY_STATE,
        (WARNING,),
        "more than half of the rounds have such a step or a warm-up that was given up",
        "the figure depends on how long was measured",
    ),
    Rule(
        Code.PACED_LATE,
        (WARNING,),
        "over 5 % of paced inferences began later than a tenth of the interval",
        "the pace was not the one that was asked for",
    ),
    Rule(
        Code.PACE_NOT_KEPT,
        (WARNING,),
        "over 5 % of paced inferences took longer than the interval",
        "the network is too slow for the pace",
    ),
    Rule(
        Code.NOTED,
        (INFO,),
        "the harness noted something that this table does not know",
        "codes are open: it is shown as it is",
    ),
)
