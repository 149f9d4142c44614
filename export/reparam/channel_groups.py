"""Groups of channels: the parts of a `torch.split` along axis 1, read one by one."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import cast

import torch
from torch import fx

from .base import NetworkEditor


@dataclass(frozen=True)
class Group:
    """Group number `index` of `source` split into groups of `sizes` channels by `split`."""

    node: fx.Node
    split: fx.Node
    source: fx.Node
    sizes: tuple[int, ...]
    index: int

    @property
    def channels(self) -> int:
        return self.sizes[self.index]

    def precedes(self, other: Group) -> bool:
        """Whether `other` is the very next group of the same split."""
        return self.split is other.split and self.index + 1 == other.index


def group_of(node: object) -> Group | None:
    """`node` as a group of channels, else None."""
    if not isinstance(node, fx.Node) or node.target is not operator.getitem:
        return None
    split, index = node.args
    if not isinstance(split, fx.Node) or split.target is not torch.split:
        return None
    if not isinstance(index, int) or split.kwargs != {"dim": 1}:
        return None
    source, sizes = split.args
    if not isinstance(sizes, list | tuple) or not isinstance(source, fx.Node):
        return None
    widths = tuple(cast("list[int]", sizes))
    return Group(node, split, source, widths, index % len(widths))


def join(network: NetworkEditor, groups: list[Group]) -> fx.Node:
    """A node that yields neighbouring `groups` as one; the split hands them out so from now on.

    The readers of the groups themselves must be replaced by the caller.
    """
    split, sizes = groups[0].split, groups[0].sizes
    first, last = groups[0].index, groups[-1].index
    source = groups[0].source
    if last - first + 1 == len(sizes):
        return source
    wider = [*sizes[:first], sum(sizes[first : last + 1]), *sizes[last + 1 :]]
    call = network.graph.call_function
    with network.graph.inserting_before(split):
        regrouped = call(torch.split, (source, wider), {"dim": 1})
        parts = [call(operator.getitem, (regrouped, index)) for index in range(len(wider))]
    for user in list(split.users):
        group = group_of(user)
        assert group is not None
        if not first <= group.index <= last:
            index = group.index if group.index < first else group.index - (last - first)
            network.replace(user, parts[index])
    return parts[first]
