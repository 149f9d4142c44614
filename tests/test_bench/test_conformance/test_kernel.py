from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from care_mobile.bench.conformance.kernel import state_after
from care_mobile.bench.protocol.arithmetic import CONTROL_SEED, control


@given(st.integers(0, 3000))
def test_it_is_the_kernel(iterations: int) -> None:
    assert state_after(iterations) == control(iterations)


def test_no_number_of_iterations_takes_long() -> None:
    """2^64 - 1 iterations of a xorshift with a full period lead back to the seed."""
    assert state_after(2**64 - 1) == CONTROL_SEED
