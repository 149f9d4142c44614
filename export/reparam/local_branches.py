"""Local branches as fewer depthwise convolutions. Not for every target: whether it pays depends
on the target, since it trades operations for multiplications.

Depthwise convolutions of the same input add up to one with the sum of their kernels, smaller ones
embedded in the middle of the larger (`e`)::

    K1 * x + K2 * x = (e(K1) + e(K2)) * x

so 11x1 plus 1x11 is one cross-shaped 11x11. Depthwise convolutions of neighbouring groups of the
channels, concatenated, are one over both groups::

    [K1 * x_i, K2 * x_(i+1)] = [e(K1), e(K2)] * [x_i, x_(i+1)]

which needs neither the split nor the concatenation. Odd kernels with "same" zero padding only.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx, nn

from .base import ADD, NetworkEditor, Pass, binary, concatenated, only_user
from .channel_groups import Group, group_of, join
from .depthwise import bias_of, common_size, depthwise, embedded, stacked, why_not_depthwise


def _rewrite(network: NetworkEditor) -> None:
    for node in list(network.graph.nodes):
        addends = binary(node, ADD)
        if addends and all(network.module(a, nn.Conv2d) is not None for a in addends):
            _add_kernels(network, node, *addends)
    for node in list(network.graph.nodes):
        if concatenated(node):
            _join_groups(network, node)


def _add_kernels(network: NetworkEditor, total: fx.Node, *addends: object) -> None:
    first, second = addends
    assert isinstance(first, fx.Node) and isinstance(second, fx.Node)
    if first.args[0] is not second.args[0]:
        return
    if why_not_depthwise(network, first) or why_not_depthwise(network, second):
        return
    one, two = network.module(first, nn.Conv2d), network.module(second, nn.Conv2d)
    assert one is not None and two is not None
    if not network.claim(total):
        return
    size = common_size([one, two])
    weight = embedded(one.weight, size) + embedded(two.weight, size)
    name = network.add_module(first, "merged", depthwise(weight, bias_of(one) + bias_of(two)))
    with network.graph.inserting_before(total):
        replacement = network.graph.call_module(name, (first.args[0],))
    network.replace(total, replacement)


@dataclass(frozen=True)
class _Branch:
    """A concatenated part that is a depthwise convolution of a group of channels."""

    node: fx.Node
    conv: nn.Conv2d
    group: Group


def _join_groups(network: NetworkEditor, node: fx.Node) -> None:
    runs = _runs(network, concatenated(node))
    if not any(isinstance(run, list) and len(run) > 1 for run in runs) or not network.claim(node):
        return
    joined: list[fx.Node] = []
    for run in runs:
        if isinstance(run, fx.Node):
            joined.append(run)
        elif len(run) == 1:
            joined.append(run[0].node)
        else:
            joined.append(_join(network, node, run))
    if len(joined) == 1:
        network.replace(node, joined[0])
    else:
        node.args = (joined, *node.args[1:])
    network.graph.eliminate_dead_code()


def _runs(network: NetworkEditor, parts: list[fx.Node]) -> list[list[_Branch] | fx.Node]:
    """The parts in order, branches of neighbouring groups together."""
    runs: list[list[_Branch] | fx.Node] = []
    for part in parts:
        branch = _branch(network, part)
        before = runs[-1] if runs else None
        if branch is None:
            runs.append(part)
        elif isinstance(before, list) and before[-1].group.precedes(branch.group):
            before.append(branch)
        else:
            runs.append([branch])
    return runs


def _branch(network: NetworkEditor, part: fx.Node) -> _Branch | None:
    conv = network.module(part, nn.Conv2d)
    if conv is None:
        return None
    group = group_of(part.args[0])
    reason = why_not_depthwise(network, part)
    if not reason and group is None:
        reason = "its input is no group of a split"
    if not reason and group is not None and only_user(group.node) is None:
        reason = "its input is read elsewhere too"
    if reason or group is None:
        network.leave(part, reason or "")
        return None
    return _Branch(part, conv, group)


def _join(network: NetworkEditor, before: fx.Node, run: list[_Branch]) -> fx.Node:
    # An earlier run of this concatenation may have regrouped the split meanwhile.
    groups = [group for branch in run if (group := group_of(branch.node.args[0]))]
    size = common_size([branch.conv for branch in run])
    merged = stacked(
        [embedded(branch.conv.weight, size) for branch in run],
        [bias_of(branch.conv) for branch in run],
    )
    name = network.add_module(run[0].node, "joined", merged)
    source = join(network, groups)
    with network.graph.inserting_before(before):
        return network.graph.call_module(name, (source,))


MERGE = Pass(
    "merge-local-branches",
    "depthwise branches of one input become fewer, larger depthwise convolutions",
    _rewrite,
)
