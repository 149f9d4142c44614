"""Operators with constant weights as modules, which passes can edit.

Passes look at what a network computes, not at how it was written: a convolution is an
`nn.Conv2d` here whether it came from one, from a subclass with a forward of its own, from
`F.conv2d`, or with a weight that a hook or a parametrization computes from others, which is
computed once and for all.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from care_mobile.models.care import LinearAttention

from .base import NetworkEditor
from .doubling import NATIVE, memory_of
from .functional import ROOT, STATE, name_of, state_of
from .linear_attention import LARGEST

_CONVOLUTIONS: dict[str, type[nn.Conv1d | nn.Conv2d | nn.Conv3d]] = {
    "aten::conv1d": nn.Conv1d,
    "aten::conv2d": nn.Conv2d,
    "aten::conv3d": nn.Conv3d,
}
_NO_TRAINING = "aten::_native_batch_norm_legit_no_training"
_NORMALIZATIONS = ("aten::batch_norm", "aten::instance_norm", _NO_TRAINING)
"""By running statistics all of them are a map per channel."""
_NORMS: dict[int, type[nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d]] = {
    2: nn.BatchNorm1d,
    3: nn.BatchNorm1d,
    4: nn.BatchNorm2d,
    5: nn.BatchNorm3d,
}
_Settings = tuple[Any, Any, Any, Any]
"""Stride, padding, dilation and groups of a convolution."""
_FUNCTIONS: dict[str, Callable[..., object]] = {
    "aten::add": torch.add,
    "aten::mul": torch.mul,
    "aten::div": torch.div,
}


def lifted(model: fx.GraphModule) -> fx.GraphModule:
    """`model` (see `functional`, changed) with modules and PyTorch's functions in its graph."""
    lifting = _Lifting(model)
    for node in list(model.graph.nodes):
        lifting.visit(node)
    model.graph.eliminate_dead_code()
    for node in model.graph.nodes:
        node.meta = {key: value for key, value in node.meta.items() if key == NATIVE}
    model.delete_all_unused_submodules()
    read = {str(node.target) for node in model.graph.nodes if node.op == "get_attr"}
    held = getattr(model, STATE, nn.Module())._buffers
    for leaf in [leaf for leaf in held if f"{STATE}.{leaf}" not in read]:
        del held[leaf]
    model.graph.lint()
    model.recompile()
    return model.eval()


class _Lifting:
    def __init__(self, model: fx.GraphModule) -> None:
        self.model = model
        self.network = NetworkEditor(model)
        self.made: dict[tuple[object, ...], str] = {}
        self.parameters: dict[tuple[object, ...], nn.Parameter] = {}

    def visit(self, node: fx.Node) -> None:
        name = name_of(node)
        if name in _CONVOLUTIONS:
            self._convolution(node, _CONVOLUTIONS[name])
        elif name in _NORMALIZATIONS:
            self._batch_norm(node, name)
        elif name == "aten::linear":
            self._linear(node)
        elif name == "aten::layer_norm":
            self._layer_norm(node)
        elif name == "care_mobile::linear_attention":
            qk, v, heads, eps, largest = _arguments(node)
            module = LinearAttention(heads, eps)
            setattr(module, LARGEST, largest)
            self._call(node, (), module, (qk, v))
        else:
            _as_function(node, name)

    def _convolution(self, node: fx.Node, kind: type[nn.Conv1d | nn.Conv2d | nn.Conv3d]) -> None:
        x, weight_node, bias_node, stride, padding, dilation, groups = _arguments(node)
        weight, bias = self._weight(weight_node), self._weight(bias_node)
        if weight is None or (bias is None and bias_node is not None) or not _batched(x, weight):
            return
        dims = weight.dim() - 2
        settings: _Settings = (
            _sides(stride, dims),
            padding if isinstance(padding, str) else _sides(padding, dims),
            _sides(dilation, dims),
            groups,
        )
        x, settings, mode = self._with_padding(x, settings, dims)
        conv = kind(1, 1, 1)
        conv.in_channels, conv.out_channels = weight.shape[1] * groups, weight.shape[0]
        conv.kernel_size = tuple(weight.shape[2:])
        conv.stride, conv.padding, conv.dilation, conv.groups = settings
        if mode != "zeros":
            conv.padding_mode = mode
            conv._reversed_padding_repeated_twice = _twice(settings[1])
        conv.weight = weight
        conv.bias = bias
        self._call(node, (kind, id(weight), id(bias), mode, *settings), conv, (x,), weight_node)

    def _with_padding(
        self, x: object, settings: _Settings, dims: int
    ) -> tuple[object, _Settings, Any]:
        """The input of a padding before an unpadded convolution, which takes it over.

        Only the paddings that repeat values, and by the same on both sides.
        """
        stride, padding, dilation, groups = settings
        if not isinstance(x, fx.Node) or name_of(x) != "aten::pad" or padding != (0,) * dims:
            return x, settings, "zeros"
        source, sides, mode, _ = _arguments(x)
        if mode == "constant" or not isinstance(sides, list | tuple) or len(sides) != 2 * dims:
            return x, settings, "zeros"
        each = tuple(sides[::2])[::-1]
        if tuple(_twice(each)) != tuple(sides) or len(x.users) != 1:
            return x, settings, "zeros"
        return source, (stride, each, dilation, groups), mode

    def _batch_norm(self, node: fx.Node, name: str) -> None:
        x, weight_node, bias_node, mean_node, var_node, *rest = _arguments(node)
        if name != _NO_TRAINING and rest[0]:
            return  # normalises by what is at hand
        eps = rest[1] if name == _NO_TRAINING else rest[2]
        mean, var = self._value(mean_node), self._value(var_node)
        weight, bias = self._weight(weight_node), self._weight(bias_node)
        kind = _NORMS.get(_rank(x))
        unknown = (weight is None and weight_node is not None) or (
            bias is None and bias_node is not None
        )
        if mean is None or var is None or kind is None or unknown:
            return
        norm = kind(len(mean), eps=eps)
        norm.weight, norm.bias = weight, bias  # type: ignore[assignment]
        norm.running_mean, norm.running_var = mean.clone(), var.clone()
        norm.num_batches_tracked = None
        key = (kind, id(weight), id(bias), str(mean_node), str(var_node), eps)
        self._call(node, key, norm, (x,), weight_node or mean_node)

    def _linear(self, node: fx.Node) -> None:
        x, weight_node, bias_node = _arguments(node)
        weight, bias = self._weight(weight_node), self._weight(bias_node)
        if weight is None or (bias is None and bias_node is not None) or weight.dim() != 2:
            return
        linear = nn.Linear(1, 1)
        linear.in_features, linear.out_features = weight.shape[1], weight.shape[0]
        linear.weight = weight
        linear.bias = bias  # type: ignore[assignment]
        self._call(node, (nn.Linear, id(weight), id(bias)), linear, (x,), weight_node)

    def _layer_norm(self, node: fx.Node) -> None:
        x, shape, weight_node, bias_node, eps, _ = _arguments(node)
        weight, bias = self._weight(weight_node), self._weight(bias_node)
        if (weight is None and weight_node is not None) or (bias is None and bias_node is not None):
            return
        norm = nn.LayerNorm(list(shape), eps, elementwise_affine=False)
        norm.weight, norm.bias = weight, bias  # type: ignore[assignment]
        norm.elementwise_affine = weight is not None or bias is not None
        key = (nn.LayerNorm, id(weight), id(bias), tuple(shape), eps)
        self._call(node, key, norm, (x,), weight_node)

    def _value(self, node: object) -> Tensor | None:
        """The value of `node` if it is constant and was not held in another type than float32."""
        value = self.network.constant(node) if isinstance(node, fx.Node) else None
        if value is None or not isinstance(node, fx.Node):
            return None
        return value if self._is_plain(node) and value.is_floating_point() else None

    def _weight(self, node: object) -> nn.Parameter | None:
        """The value of `node` as a parameter, one for all layers that read the same."""
        value = self._value(node)
        if value is None:
            return None
        assert isinstance(node, fx.Node)
        key = memory_of(value) if node.op == "get_attr" else (node.name,)
        if key not in self.parameters:
            # A copy: others may read the tensor itself, and passes edit in place.
            self.parameters[key] = nn.Parameter(value.detach().clone(), requires_grad=False)
        return self.parameters[key]

    def _is_plain(self, node: fx.Node) -> bool:
        """Whether all tensors that `node` is computed from are float32 in the network.

        Layers in half precision stay as they are: folding into them would round anew.
        """
        if node.op == "get_attr":
            leaf = str(node.target).rpartition(".")[2]
            native = state_of(self.model).native.get(leaf)
            return native is torch.float32 or native is torch.float64
        return all(self._is_plain(n) for n in node.all_input_nodes)

    def _call(
        self,
        node: fx.Node,
        key: tuple[object, ...],
        module: nn.Module,
        args: tuple[object, ...],
        weight: object = None,
    ) -> None:
        """Let `module` stand for the operator that `node` calls."""
        name = self.made.get(key) if key else None
        if name is None:
            name = self._free(_name(self.model, node, weight))
            self.model.add_submodule(name, module.eval())
            if key:
                self.made[key] = name
        with self.model.graph.inserting_before(node):
            call = self.model.graph.call_module(name, args)  # type: ignore[arg-type]
        call.meta["val"] = node.meta.get("val")
        if name_of(node) == _NO_TRAINING:
            for user in list(node.users):  # it returns a tuple, of which only the first is read
                assert user.target is operator.getitem
                call.meta["val"] = user.meta.get("val")
                user.replace_all_uses_with(call)
                self.model.graph.erase_node(user)
        node.replace_all_uses_with(call)
        self.model.graph.erase_node(node)

    def _free(self, name: str) -> str:
        """`name`, or one like it where that is taken."""
        first = name.split(".", maxsplit=1)[0]
        if first == STATE or hasattr(fx.GraphModule, first):
            name = f"{first}_{name[len(first) :]}"
        found, count = name, 1
        while self._taken(found):
            count += 1
            found = f"{name}_{count}".replace(".", "_")
        return found

    def _taken(self, name: str) -> bool:
        owner: object = self.model
        parts = name.split(".")
        for place, part in enumerate(parts):
            if not hasattr(owner, part):
                # A layer is a leaf: nothing is put below it.
                return not (type(owner) is nn.Module or owner is self.model)
            owner = getattr(owner, part)
            if place == len(parts) - 1:
                return True
        return True


def _name(model: fx.GraphModule, node: fx.Node, weight: object) -> str:
    """Where the network has the layer: the module that owns its weight, or that runs it."""
    if isinstance(weight, fx.Node) and weight.op == "get_attr":
        owner = state_of(model).names[str(weight.target).rpartition(".")[2]].rpartition(".")[0]
        if owner:
            return owner
    stack = node.meta.get("nn_module_stack") or {}
    path = str(list(stack.values())[-1][0]) if stack else ""
    return path.removeprefix(ROOT).removeprefix(".") or node.name


def _as_function(node: fx.Node, name: str) -> None:
    """The operators that passes read, as PyTorch's functions with their arguments in one form."""
    if name in _FUNCTIONS and len(node.args) == 2 and not node.kwargs:
        node.target = _FUNCTIONS[name]
    elif name == "aten::cat":
        parts, dim = node.args[0], node.args[1] if len(node.args) > 1 else 0
        node.target, node.args, node.kwargs = torch.cat, (parts,), {"dim": _positive(dim, node)}
    elif name in ("aten::split_with_sizes", "aten::split"):
        x, sizes = node.args[:2]
        dim = node.args[2] if len(node.args) > 2 else 0
        if _static(sizes):
            node.target, node.args = torch.split, (x, sizes)
            node.kwargs = {"dim": _positive(dim, x)}


def _static(sizes: object) -> bool:
    return isinstance(sizes, int) or (
        isinstance(sizes, list | tuple) and all(isinstance(size, int) for size in sizes)
    )


def _positive(dim: object, like: object) -> int:
    assert isinstance(dim, int)
    return dim + _rank(like) if dim < 0 else dim


def _rank(node: object) -> int:
    value = node.meta.get("val") if isinstance(node, fx.Node) else None
    return value.dim() if isinstance(value, Tensor) else 0


def _batched(x: object, weight: Tensor) -> bool:
    return _rank(x) == weight.dim()


def _sides(value: int | Sequence[int], dims: int) -> tuple[int, ...]:
    sides = (value,) if isinstance(value, int) else tuple(value)
    return sides * dims if len(sides) == 1 else sides


def _twice(padding: Sequence[int]) -> list[int]:
    """Padding per dimension as `F.pad` wants it: the last dimension first, both sides."""
    return [side for side in reversed(padding) for _ in range(2)]


def _arguments(node: fx.Node) -> list[Any]:
    """All arguments of the operator that `node` calls, defaults filled in."""
    assert isinstance(node.target, torch._ops.OpOverload)
    found: list[Any] = []
    for place, argument in enumerate(node.target._schema.arguments):
        if place < len(node.args) and not argument.kwarg_only:
            found.append(node.args[place])
        else:
            default = argument.default_value if argument.has_default_value() else None
            found.append(node.kwargs.get(argument.name, default))
    return found
