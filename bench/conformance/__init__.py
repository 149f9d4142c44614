"""Whether a program keeps the harness protocol: it runs golden plans, and its files are read as
strictly as docs/harness-protocol.md is written.

`plans/*.json` hold the plans with their probe files, for harnesses' own tests too: `what` the case
is, `plan`, the `round` to run, `files` by path in base64 (one that the plan lists and that is not
here is missing on purpose), the cells that shall fail (`fails`), and the check that a round which
does not end would break (`proves`).
"""

from .results import Check, ConformanceResult, Outcome
from .run import run_conformance

__all__ = ["Check", "ConformanceResult", "Outcome", "run_conformance"]
