"""Figures over rounds. The simulations say why the round, not the block, is the evidence."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from care_mobile.bench.protocol.base import Contract
from care_mobile.bench.protocol.events import Block, Failed
from care_mobile.bench.protocol.plan import Phase
from care_mobile.bench.protocol.record import Landed, RoundStatus, Session
from care_mobile.bench.stats import (
    Pairing,
    Ratio,
    flips,
    hodges_lehmann,
    latency,
    log_ratios,
    ratio,
    t_interval,
)

from .sessions import BASE_NS, both, landing, plan_of, rejecting, session_of

ratios = st.floats(0.2, 5)
by_round = st.lists(st.lists(ratios, min_size=2, max_size=2), min_size=2, max_size=8)


def with_ratios(table: list[list[float]], **options: bool) -> Session:
    """Two cells; in each round and block the second takes so many times the first's latency.

    A drift that both share is in every block: pairs cancel it.
    """
    plan = plan_of(2, rounds=len(table), blocks=len(table[0]), **options)

    def latencies(number: int, block: int, cell: int) -> int:
        replicate = plan.rounds[number].replicate
        drift = 1 + 0.1 * ((3 * replicate + block) % 5)
        return round(BASE_NS * drift * (table[replicate][block] if cell else 1))

    return session_of(plan, latencies)


def found_ratio(session: Session, cell: int = 1, base: int = 0, *, rejected: bool = False) -> Ratio:
    found = ratio(session, cell, base, rejected=rejected)
    assert found is not None
    return found


@given(by_round)
@settings(max_examples=30)
def test_the_interval_is_the_t_interval_of_the_rounds(table: list[list[float]]) -> None:
    session = with_ratios(table)
    found = found_ratio(session)
    means = [np.mean(np.log(row)) for row in table]
    middle, error = np.mean(means), scipy_stats.sem(means)
    half = scipy_stats.t.ppf(0.975, len(means) - 1) * error
    assert math.log(found.ratio) == pytest.approx(middle, abs=1e-6)
    assert found.low is not None and found.high is not None
    assert math.log(found.low) == pytest.approx(middle - half, abs=1e-5)
    assert math.log(found.high) == pytest.approx(middle + half, abs=1e-5)
    assert (found.rounds, found.blocks) == (len(table), 2 * len(table))
    assert found.pairing is Pairing.BLOCK


@given(by_round)
@settings(max_examples=30)
def test_turned_around_a_ratio_is_its_inverse(table: list[list[float]]) -> None:
    session = with_ratios(table)
    one, other = found_ratio(session), found_ratio(session, 0, 1)
    assert other.low is not None and one.high is not None
    assert other.ratio == pytest.approx(1 / one.ratio)
    assert other.low == pytest.approx(1 / one.high)
    assert other.hodges_lehmann == pytest.approx(1 / one.hodges_lehmann)
    assert other.differs == one.differs
    assert (other.between_sd, other.within_sd) == pytest.approx((one.between_sd, one.within_sd))


def test_one_round_has_no_interval_however_many_blocks() -> None:
    found = found_ratio(with_ratios([[2, 2, 2, 2, 2, 2.1]]))
    assert (found.low, found.high, found.between_sd, found.load_sd) == (None, None, None, None)
    assert found.within_sd is not None
    assert not found.differs
    assert not found.equivalent(10)
    one = latency(with_ratios([[2, 2]]), 1)
    assert one is not None
    assert (one.low_ns, one.high_ns, one.rounds) == (None, None, 1)


def test_variance_is_told_apart() -> None:
    """Rounds at 0.9 and 1.1 in logs, blocks 0.01 around them."""
    table = [[math.exp(r + b) for b in (-0.01, 0.01)] for r in (0.9, 1.1, 0.9, 1.1)]
    found = found_ratio(with_ratios(table))
    within = math.sqrt(4 * 2 * 0.01**2 / 4)
    between = float(np.std([0.9, 1.1, 0.9, 1.1], ddof=1))
    assert found.within_sd == pytest.approx(within, rel=1e-4)
    assert found.between_sd == pytest.approx(between, rel=1e-4)
    assert found.load_sd == pytest.approx(math.sqrt(between**2 - within**2 / 2), rel=1e-4)


def test_blocks_without_any_offset_of_loads_have_none() -> None:
    found = found_ratio(with_ratios([[1, 1.2], [1.2, 1], [1, 1.2]]))
    assert found.load_sd == 0
    assert found.between_sd == pytest.approx(0, abs=1e-9)


def test_cells_of_their_own_processes_are_paired_by_replicate() -> None:
    session = with_ratios([[2, 2], [3, 3], [4, 4]], apart=True)
    assert [r.cells.keys() for r in session.rounds[:2]] == [{0}, {1}]
    found = found_ratio(session)
    assert found.pairing is Pairing.REPLICATE
    assert (found.rounds, found.within_sd) == (3, None)
    assert [r.number for r in log_ratios(session, 1, 0)] == [0, 1, 2]
    assert found.ratio == pytest.approx(24 ** (1 / 3), rel=1e-3)


def test_a_replicate_that_lacks_a_partner_does_not_count() -> None:
    whole = with_ratios([[2, 2], [3, 3], [4, 4]], apart=True)
    partner = landing(2, RoundStatus.CRASHED)
    lost = session_of(whole.plan, edit=partner)
    assert [r.number for r in log_ratios(lost, 1, 0)] == [0, 2]


def test_only_completed_rounds_and_accepted_blocks_count() -> None:
    plan = plan_of(2, rounds=4, blocks=3)
    ran = session_of(plan, lambda r, b, c: BASE_NS * (1 + c + 5 * (b == 2)))

    edit = both(rejecting(lambda block: block.block == 2), landing(1, RoundStatus.TIMED_OUT))
    session = session_of(plan, lambda r, b, c: BASE_NS * (1 + c + 5 * (b == 2)), edit=edit)
    found = found_ratio(session)
    assert (found.rounds, found.blocks) == (3, 6)
    assert found.ratio == pytest.approx(2)
    assert found_ratio(session, rejected=True).ratio == pytest.approx(
        math.exp((2 * math.log(2) + math.log(7 / 6)) / 3)
    )
    assert found_ratio(ran).rounds == 4
    one = latency(session, 0)
    assert one is not None and one.samples.count == 3 * 2 * 10


@pytest.mark.parametrize(
    ("kept", "rejected", "flip"),
    [
        (1.05, 1.2, False),
        (1.05, 0.97, False),
        (1.05, 0.8, True),
        (0.95, 1.2, True),
        (1.0, 1.0, False),
        (1.0, 1.3, True),
    ],
)
def test_a_gate_that_decides_a_verdict_is_seen(kept: float, rejected: float, flip: bool) -> None:
    def latencies(number: int, block: int, cell: int) -> int:
        times = (kept + 0.001 * number, rejected)[block]
        return round(BASE_NS * times) if cell else BASE_NS

    session = session_of(latencies=latencies, edit=rejecting(lambda block: block.block == 1))
    assert flips(session, 1, 0) is flip
    assert not flips(session_of(latencies=latencies), 1, 0)


def test_a_round_in_which_a_cell_failed_is_no_evidence_for_it() -> None:
    def edit(line: Contract) -> Contract | Iterable[Contract] | None:
        if isinstance(line, Block) and line.block == 1:
            failed = Failed(n=line.n, at_ns=line.at_ns, code="runtime", cell=1)
            return (line, failed)
        return line

    session = session_of(plan_of(2, rounds=2), edit=edit)
    assert latency(session, 1) is None
    assert ratio(session, 1, 0) is None
    own = latency(session, 0)
    assert own is not None and own.rounds == 2


def test_without_evidence_there_is_nothing() -> None:
    def edit(line: Contract) -> Contract | Iterable[Contract] | None:
        return None if isinstance(line, Landed) else line

    session = session_of(edit=edit)
    assert (latency(session, 0), ratio(session, 1, 0)) == (None, None)


def test_a_latency_is_the_median_of_the_rounds() -> None:
    steps = (10, 11, 12, 13, 90)
    session = session_of(latencies=lambda r, b, c: steps[r] * 1_000_000)
    found = latency(session, 0)
    assert found is not None
    assert (found.median_ns, found.rounds) == (12_000_000, 5)
    assert (found.samples.minimum_ns, found.samples.count) == (10_000_000, 100)
    assert found.samples.p99_ns is None


@given(st.lists(st.integers(0, 10**12), min_size=2, max_size=12))
@settings(max_examples=40)
def test_the_interval_of_a_latency_holds_its_median(medians: list[int]) -> None:
    session = session_of(plan_of(1, rounds=len(medians)), lambda r, b, c: medians[r], iterations=3)
    found = latency(session, 0)
    assert found is not None and found.low_ns is not None and found.high_ns is not None
    assert found.median_ns == max(median(max(m, 1) for m in medians), 1)
    assert 0 < found.low_ns <= found.median_ns <= found.high_ns


def test_differing_and_equivalence_are_two_questions() -> None:
    close = found_ratio(with_ratios([[1.01, 1.011], [1.011, 1.012], [1.01, 1.012]]))
    assert close.differs
    assert close.equivalent(0.03)
    assert not close.equivalent(0.005)
    wide = found_ratio(with_ratios([[0.8, 0.8], [1.3, 1.3], [1.0, 1.0]]))
    assert not wide.differs
    assert not wide.equivalent(0.03)


def test_estimates_that_disagree_in_sign_are_no_difference() -> None:
    found = Ratio(1.02, 1.01, 1.03, 9, 0.1, 0.1, 0.1, 0.99, Pairing.BLOCK, 9)
    assert not found.signs_agree
    assert not found.differs
    torn = found_ratio(with_ratios([[1.05, 1.05]] * 5 + [[0.3, 0.3]]))
    assert torn.ratio < 1 < torn.hodges_lehmann
    assert not torn.signs_agree


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12))
def test_hodges_lehmann_is_the_median_of_pairwise_means(values: list[float]) -> None:
    means = [(a + b) / 2 for i, a in enumerate(values) for b in values[i:]]
    assert hodges_lehmann(values) == pytest.approx(median(means), abs=1e-12)
    assert min(values) - 1e-12 <= hodges_lehmann(values) <= max(values) + 1e-12


def _excluded(rows: list[list[float]]) -> bool:
    """Whether the interval over the values of all rows excludes 0."""
    _, low, high = t_interval([value for row in rows for value in row])
    assert low is not None and high is not None
    return low > 0 or high < 0


def test_intervals_over_rounds_keep_their_promise_and_those_over_blocks_do_not() -> None:
    """600 sessions of one network under two names: 5 loads, each with an offset of its own.

    Offsets of 2 % between loads and noise of 0.5 % within, as measured on a shared machine. If an
    interval excludes 1 in 5 %, it does in 12 to 52 of 600 with a probability of 0.9999 (binomial);
    the seed is fixed, so the band only matters to who changes the method. Intervals over the
    blocks of the same sessions take 20 loads for 5, and exclude 1 in far more.
    """
    draws = np.random.default_rng(20260102)
    rounds = differing = blocks = 0
    for _ in range(600):
        offsets = draws.normal(0, 0.02, size=(5, 1))
        logs = offsets + draws.normal(0, 0.005, size=(5, 4))
        table = np.exp(logs)
        session = _quick_session(table)
        found = found_ratio(session)
        assert found.low is not None and found.high is not None
        differing += found.differs
        rounds += found.low > 1 or found.high < 1
        blocks += _excluded([list(each.logs) for each in log_ratios(session, 1, 0)])
    assert 12 <= rounds <= 52
    assert differing <= rounds
    assert blocks > 150


def _quick_session(table: np.ndarray) -> Session:  # type: ignore[type-arg]
    plan = plan_of(2, rounds=table.shape[0], blocks=table.shape[1])
    return session_of(
        plan,
        lambda r, b, c: round(BASE_NS * float(table[r, b])) if c else BASE_NS,
        iterations=1,
    )


def test_what_is_estimated_of_the_loads_is_what_was_put_in() -> None:
    """The mean of 200 estimated variances is within a quarter of the true one (it has 4 degrees
    of freedom each, so a standard error of 0.71 / sqrt(200) = 5 %)."""
    draws = np.random.default_rng(7)
    loads, within = [], []
    for _ in range(200):
        logs = draws.normal(0, 0.02, size=(5, 1)) + draws.normal(0, 0.005, size=(5, 4))
        found = found_ratio(_quick_session(np.exp(logs)))
        assert found.load_sd is not None and found.within_sd is not None
        loads.append(found.load_sd**2)
        within.append(found.within_sd**2)
    assert np.mean(loads) == pytest.approx(0.02**2, rel=0.25)
    assert np.mean(within) == pytest.approx(0.005**2, rel=0.1)


def test_cells_in_no_block_are_measured_by_their_sustained_runs() -> None:
    """The preset `mlperf` has no bursts."""
    plan = plan_of(2, rounds=3, phases=(Phase.SUSTAINED,))
    session = session_of(plan, lambda r, b, c: BASE_NS * (1 + c))
    found = found_ratio(session)
    assert (found.ratio, found.rounds, found.pairing) == (
        pytest.approx(2),
        3,
        Pairing.REPLICATE,
    )
    own = latency(session, 1)
    assert own is not None
    assert (own.median_ns, own.samples.count) == (2 * BASE_NS, 3 * 10 * 10)
