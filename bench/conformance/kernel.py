"""The control kernel's result after any number of iterations, at once.

An iteration is linear over GF(2): a matrix M of 64 x 64 bits. Of M^n only log2(n) products are
computed, so a harness that claims two thousand million iterations costs nobody their time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..protocol.arithmetic import CONTROL_SEED, MASK

Bits = NDArray[np.uint8]


def state_after(iterations: int) -> int:
    """`arithmetic.control(iterations)`."""
    state, power = _bits(CONTROL_SEED), _iteration()
    while iterations:
        if iterations & 1:
            state = _product(power, state)
        power = _product(power, power)
        iterations >>= 1
    return sum(int(bit) << place for place, bit in enumerate(state))


def _iteration() -> Bits:
    """Column i is what one iteration makes of the state whose only bit is i."""
    return np.stack([_bits(_step(1 << place)) for place in range(64)], axis=1)


def _step(state: int) -> int:
    state ^= (state << 13) & MASK
    state ^= state >> 7
    return state ^ ((state << 17) & MASK)


def _bits(state: int) -> Bits:
    return np.array([state >> place & 1 for place in range(64)], np.uint8)


def _product(matrix: Bits, other: Bits) -> Bits:
    """Sums of at most 64 ones fit uint8."""
    return (matrix @ other) & np.uint8(1)
