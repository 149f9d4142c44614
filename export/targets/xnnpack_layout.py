"""The layout in which XNNPACK's operations see a map, mended where ExecuTorch 1.4 leaves it open.

What follows a convolution inside a partition stays with the channels last until an operation that
needs them first. ExecuTorch's list of these lacks softmax, which XNNPACK takes along the last axis
of whatever layout it is given: softmax along the width of a map (attention whose heads a
convolution mixes, or whose scores it makes) became one along the channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch


@contextmanager
def axes_as_written() -> Iterator[None]:
    """Lower inside the block with softmax along the axis that the program names."""
    from executorch.backends.xnnpack._passes.channels_last_tagged_reshape_pass import (
        ChannelsLastTaggedReshapePass,
    )
    from executorch.exir.dialects._ops import ops

    known = ChannelsLastTaggedReshapePass.memory_sensitive_ops_nchw
    channels_first = known | {ops.edge.aten._softmax.default}
    with patch.object(ChannelsLastTaggedReshapePass, "memory_sensitive_ops_nchw", channels_first):
        yield
