"""Inputs of every number that a harness computes; `arithmetic.json` holds them with the results.

`CARE_UPDATE_GOLDEN=1 pytest tests/test_bench/test_protocol/test_arithmetic.py` writes it anew.
"""

from __future__ import annotations

from typing import Any

MAX = 2**63 - 1
_RULES = {
    "window": 2,
    "tolerance_permille": 20,
    "min_iterations": 4,
    "min_ns": 1_000_000,
    "max_iterations": 8,
    "max_ns": 5_000_000,
}
_WIDE = {**_RULES, "window": 10, "min_iterations": 20}
_BURST = {"target_ns": 250_000_000, "min_iterations": 5, "max_iterations": 500}


def inputs() -> dict[str, list[dict[str, Any]]]:
    """Function -> arguments by name, as keyword arguments of `protocol.arithmetic`."""
    return {
        "median_ns": [{"samples": samples} for samples in _MEDIANS],
        "windows_agree": [{"samples": s, "rules": rules} for s, rules in _WINDOWS],
        "warm_state": [
            {"samples": s, "elapsed_ns": elapsed, "rules": rules} for s, elapsed, rules in _STATES
        ],
        "warm_latency_ns": [{"samples": s, "rules": _RULES} for s in _MEDIANS],
        "burst_iterations": [{"latency_ns": ns, "burst": burst} for ns, burst in _bursts()],
        "drifted": [
            {"before_ns": before, "after_ns": after, "permille": permille}
            for before, after, permille in _DRIFTS
        ],
        "answer_stride": [{"elements": e, "limit": limit} for e, limit in _STRIDES],
        "control": [{"iterations": n} for n in (0, 1, 2, 3, 64, 1000, 1024, 2048, 65_536)],
    }


_MEDIANS: list[list[int]] = [
    [7],
    [0],
    [0, 0, 0],
    [3, 1],
    [1, 2],
    [2, 1, 3],
    [5, 5, 5, 5],
    [4, 1, 3, 2],
    [1, 1, 2, 9],
    [9, 8, 7, 6, 5, 4, 3, 2, 1],
    [10, 9, 100, 9, 11, 10, 12, 8],
    [1_000_000_007, 1_000_000_006],
    [2**53 - 1, 2**53 + 1],
    [2**53 + 1, 2**53 + 2, 2**53 + 3],
    [MAX],
    [MAX, MAX],
    [MAX, MAX - 1],
    [0, MAX],
    [MAX, 0, 1],
]

_WINDOWS: list[tuple[list[int], dict[str, int]]] = [
    ([], _RULES),
    ([5], _RULES),
    ([5, 5], _RULES),
    ([100, 102], _RULES),
    ([100, 103], _RULES),
    ([102, 100], _RULES),
    ([103, 100], _RULES),
    ([100, 100, 102, 102], _RULES),
    ([100, 100, 102, 103], _RULES),
    ([100, 101, 102, 103], _RULES),
    ([1, 1000, 1000, 1000, 1000], _RULES),
    ([0, 0, 0, 0], _RULES),
    ([0, 0, 1, 1], _RULES),
    ([49, 49, 50, 50], _RULES),
    ([50, 50, 51, 51], _RULES),
    ([200, 100, 100], _WIDE),
    ([300, 200, 100, 100, 100, 101, 100, 100], _WIDE),
    ([100] * 10 + [102] * 10, _WIDE),
    ([100] * 10 + [103] * 10, _WIDE),
    ([900] * 5 + [100] * 20, _WIDE),
    ([MAX, MAX, MAX, MAX], _RULES),
    ([MAX, MAX, MAX - 1, MAX - 1], _RULES),
    ([MAX, MAX, MAX // 2, MAX // 2], _RULES),
    ([100, 100, 100, 100], {**_RULES, "tolerance_permille": 0}),
    ([100, 100, 101, 101], {**_RULES, "tolerance_permille": 0}),
    ([1, 1, 900, 900], {**_RULES, "tolerance_permille": 1_000_000}),
]

_STATES: list[tuple[list[int], int, dict[str, int]]] = [
    ([], 0, _RULES),
    ([100], 100, _RULES),
    ([100] * 3, 300, _RULES),
    ([100] * 4, 400, _RULES),
    ([100] * 2, 999_999, _RULES),
    ([100] * 2, 1_000_000, _RULES),
    ([100], 1_000_000, _RULES),
    ([100, 200, 300, 400], 1000, _RULES),
    ([100 * i for i in range(1, 8)], 2800, _RULES),
    ([100 * i for i in range(1, 9)], 3600, _RULES),
    ([100] * 8, 800, _RULES),
    ([100, 900], 4_999_999, _RULES),
    ([100, 900], 5_000_000, _RULES),
    ([900], 5_000_000, _RULES),
    ([], 5_000_000, _RULES),
    ([100, 100], MAX, _RULES),
    ([0, 0, 0, 0], 0, _RULES),
]

_DRIFTS: list[tuple[int, int, int]] = [
    (1000, 1000, 50),
    (1000, 1050, 50),
    (1000, 1051, 50),
    (1050, 1000, 50),
    (1051, 1000, 50),
    (1000, 1001, 0),
    (1000, 1000, 0),
    (0, 0, 50),
    (0, 1, 50),
    (1, 0, 1_000_000),
    (19, 20, 50),
    (20, 21, 50),
    (MAX, MAX, 50),
    (MAX, MAX - 1, 0),
    (MAX, 0, 1_000_000),
    (MAX - 2**40, MAX, 0),
]

_STRIDES: list[tuple[int, int]] = [
    (0, 4),
    (1, 4),
    (4, 4),
    (5, 4),
    (8, 4),
    (9, 4),
    (1000, 1),
    (65_536, 65_536),
    (65_537, 65_536),
    (150_528, 65_536),
    (1024 * 65_536, 65_536),
    (2**31 - 1, 65_536),
    (MAX, 65_536),
]


def _bursts() -> list[tuple[int, dict[str, int]]]:
    fixed = {**_BURST, "min_iterations": 20, "max_iterations": 20}
    latencies = [0, 1, 499_999, 500_000, 500_001, 2_500_000, 50_000_000, 50_000_001, 10**9, MAX]
    found = [(ns, _BURST) for ns in latencies]
    found += [(3_000_000, fixed), (1000, {**_BURST, "target_ns": 0})]
    return [*found, (7, {"target_ns": MAX, "min_iterations": 1, "max_iterations": 1_000_000})]
