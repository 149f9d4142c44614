"""Layers of Core ML's older kind of network, which `.mlmodel` files hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .results import Layer

_WEIGHTS = "WeightParams"
_NETWORK = "NeuralNetwork"
_FIRST_KIND = 100
"""Number of the first field of a layer that says what kind it is."""


@dataclass(frozen=True)
class NeuralNetwork:
    """`census` counts layers by kind, those of branches and loops too."""

    layers: tuple[Layer, ...]
    census: Counter[str]
    parameters: int
    bytes_by_type: Counter[str]


def read_network(message: Any) -> NeuralNetwork:
    """What a `NeuralNetwork` message holds.

    Its multiply-accumulates depend on shapes that only Apple's framework works out.
    """
    layers: list[Layer] = []
    census: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for layer in _walk(message):
        kind, body = _kind(layer)
        census[kind] += 1
        weights = [_weight(weight) for weight in _weights(body)]
        for dtype, _, stored in weights:
            sizes[dtype] += stored
        layers.append(
            Layer(
                name=layer.name or kind,
                operator=kind,
                bytes=sum(stored for _, _, stored in weights),
                parameters=sum(count for _, count, _ in weights),
                macs=None,
            )
        )
    return NeuralNetwork(tuple(layers), census, sum(layer.parameters for layer in layers), +sizes)


def _walk(network: Any) -> Iterator[Any]:
    for layer in network.layers:
        yield layer
        _, body = _kind(layer)
        for field, value in body.ListFields() if body is not None else ():
            if field.message_type is not None and field.message_type.name == _NETWORK:
                yield from _walk(value)


def _kind(layer: Any) -> tuple[str, Any]:
    for field, value in layer.ListFields():
        if field.number >= _FIRST_KIND:
            return str(field.name), value
    return "unknown", None


def _weights(message: Any) -> Iterator[Any]:
    """All weights of a layer, at any depth but not those of the networks inside it."""
    for field, value in message.ListFields() if message is not None else ():
        if field.message_type is None or field.message_type.name == _NETWORK:
            continue
        for item in value if field.is_repeated else (value,):
            if field.message_type.name == _WEIGHTS:
                yield item
            else:
                yield from _weights(item)


def _weight(weight: Any) -> tuple[str, int, int]:
    """(element type, elements, bytes)."""
    if weight.floatValue:
        return "fp32", len(weight.floatValue), 4 * len(weight.floatValue)
    if weight.float16Value:
        return "fp16", len(weight.float16Value) // 2, len(weight.float16Value)
    if weight.int8RawValue:
        return "int8", len(weight.int8RawValue), len(weight.int8RawValue)
    stored = len(weight.rawValue)
    bits = weight.quantization.numberOfBits if weight.HasField("quantization") else 8
    bits = bits if 1 <= bits <= 8 else 8
    return f"uint{bits}", stored * 8 // bits, stored
