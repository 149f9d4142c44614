"""A network to try things on, while the user's own stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class _CopiedWithValue(TorchFunctionMode):
    """Copies computed tensors, which torch refuses, by their value.

    The old `weight_norm` and `spectral_norm` keep such a weight as an attribute.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is Tensor.__deepcopy__ and not args[0].is_leaf:
            tensor, memo = args
            return memo.setdefault(id(tensor), tensor.detach().clone())
        return func(*args, **(kwargs or {}))


def copied(model: ModuleT) -> ModuleT:
    """A copy of `model` in evaluation mode that needs no gradients, with its state as it is now."""
    with _CopiedWithValue():
        twin = copy.deepcopy(model)
    return twin.eval().requires_grad_(False)
