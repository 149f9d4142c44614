"""Programs as text: `model.mil` of a compiled model.

A line is one operation, `type name, type name = operator(parameter = value, ...)[attributes];`, and
a function is `func name<opset>(type name, ...) { ... } -> (names);`. Constants keep their values
only where those decide what an operation computes (flags and texts); weights are not read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import ModelFileError
from .program import Constant, Function, Named, Operand, Operation, Ref
from .types import OpaqueType, TensorType, ValueType
from .values import MAX_RANK, MAX_SIZE

_FUNCTION = re.compile(r"\s*func (\w+)<(\w+)>\((.*)\)\s*\{?\s*$")
_END = re.compile(r"\s*\}\s*->\s*\(([^)]*)\)\s*;")
_NAMED = re.compile(r"((?:tensor|list|state|dict|tuple)<.*?>|\w+)\s+(\w+)\s*(?:,|$)")
_TENSOR = re.compile(r"tensor<(\w+),\s*\[([^\]]*)\]>")
_ARGUMENT = re.compile(r"(\w+)\s*=\s*(\([^()]*\)|[\w.]+)\s*(?:,|$)")
_BLOB = re.compile(r'BLOBFILE\(path\s*=\s*[^"]*"([^"]*)"[^,]*,\s*offset\s*=\s*\D*64\((\d{1,18})\)')
_LITERAL = re.compile(r'\bval\s*=\s*[^(]*\((?:"([^"]*)"|(true|false))\)')
_OPSETS = {"ios15": "CoreML5", "ios16": "CoreML6", "ios17": "CoreML7", "ios18": "CoreML8"}
_LONGEST_LINE = 2**14
"""Of what is matched by patterns, which take quadratic time; values of constants may be longer."""
_SCALARS = frozenset({"bool", "string", "fp16", "fp32", "fp64", "int8", "int16", "int32", "int64"})


def read_functions(name: str, text: str) -> dict[str, Function]:
    """All functions of a program, by name.

    Raises:
        ModelFileError: if the text is none, or has something that is not known.
    """
    found: dict[str, Function] = {}
    head: re.Match[str] | None = None
    body: list[str] = []
    for line in text.splitlines():
        matched = line if len(line) <= _LONGEST_LINE else ""
        start, end = _FUNCTION.match(matched), _END.match(matched)
        if start:
            head, body = start, []
        elif end and head:
            found[head[1]] = _function(name, head, body, end[1])
            head = None
        elif head and line.strip():
            body.append(line)
    if not found or head:
        raise ModelFileError(f"{name} holds no program that is understood")
    return found


def _function(name: str, head: re.Match[str], body: list[str], outputs: str) -> Function:
    constants: dict[str, Constant] = {}
    inputs = tuple(_named(head[3]))
    defined = {named.name for named in inputs}
    operations = []
    for line in body:
        declared, operator, arguments, attributes = _statement(name, line)
        results = tuple(_named(declared))
        if operator == "const":
            for result in results:
                constants[result.name] = _constant(result, attributes)
            continue
        given = {
            key: tuple(_operands(value, constants, defined))
            for key, value in _ARGUMENT.findall(arguments)
        }
        packed = (
            {
                key: (Constant("", _type(kind), _unread, 0, blob),)
                for key, kind, blob in _attributes(attributes)
            }
            if operator.startswith("constexpr_")
            else {}
        )
        operations.append(Operation(operator, {**packed, **given}, results))
        defined |= {named.name for named in results}
    names = tuple(part.strip() for part in outputs.split(",") if part.strip())
    return Function(
        name=head[1],
        opset=_OPSETS.get(head[2].lower(), head[2]),
        inputs=inputs,
        outputs=names,
        operations=tuple(operations),
        constants={key: constants[key] for key in names if key in constants},
    )


def _statement(name: str, line: str) -> tuple[str, str, str, str]:
    """What a line declares, its operator, arguments and attributes."""
    declared, equals, rest = line.partition("=")
    operator, opened, rest = rest.partition("(")
    operator = operator.strip().rpartition(".")[2]
    end = _closing(rest)
    if not (equals and opened and operator.isidentifier() and line.rstrip().endswith(";")) or (
        end is None or len(declared) + end > _LONGEST_LINE
    ):
        raise ModelFileError(f"{name} has a line that is not understood")
    if operator != "const" and len(rest) > _LONGEST_LINE:
        raise ModelFileError(f"{name} has a line of {len(line):,} characters")
    return declared, operator, rest[:end], rest[end + 1 : end + 1 + _LONGEST_LINE]


def _closing(text: str) -> int | None:
    """Where the parenthesis that was opened before `text` closes."""
    depth = 1
    for match in re.finditer(r"[()]", text):
        depth += 1 if match[0] == "(" else -1
        if not depth:
            return match.start()
    return None


def _attributes(text: str) -> Iterator[tuple[str, str, tuple[str, int] | None]]:
    """Weights that a compressed constant keeps as attributes: (name, type, place)."""
    pattern = re.compile(r"(\w+)\s*=\s*(tensor<\w+,\s*\[[^\]]*\]>)\(")
    matches = list(pattern.finditer(text))
    for match, following in zip(matches, [*matches[1:], None], strict=True):
        if match[1] == "name":
            continue
        blob = _BLOB.search(text[match.start() : following.start() if following else None])
        yield match[1], match[2], (blob[1], int(blob[2])) if blob else None


def _operands(value: str, constants: dict[str, Constant], defined: set[str]) -> Iterator[Operand]:
    for item in map(str.strip, value.strip("()").split(",")):
        if item in constants:
            yield constants[item]
        elif item in defined:
            yield Ref(item)
        elif item:
            yield Constant("", OpaqueType("literal"), _unread)


def _named(text: str) -> Iterator[Named]:
    for kind, name in _NAMED.findall(text):
        yield Named(name, _type(kind))


def _type(text: str) -> ValueType:
    match = _TENSOR.fullmatch(text)
    if not match:
        return TensorType(text, ()) if text in _SCALARS else OpaqueType(text.partition("<")[0])
    sizes = [part.strip() for part in match[2].split(",") if part.strip()]
    if len(sizes) > MAX_RANK:
        raise ModelFileError(f"a value has {len(sizes)} axes")
    shape = tuple(_size(size) for size in sizes)
    if math.prod(size or 1 for size in shape) > MAX_SIZE:
        raise ModelFileError("a value claims sizes beyond any machine")
    return TensorType(match[1], shape)


def _size(text: str) -> int | None:
    """None for one that is known only at run time."""
    if not (text.isascii() and text.isdigit()):
        return None
    if len(text) > len(str(MAX_SIZE)) or int(text) > MAX_SIZE:
        raise ModelFileError("a value has a size beyond any machine")
    return int(text)


def _constant(result: Named, attributes: str) -> Constant:
    blob = _BLOB.search(attributes)
    if blob:
        return Constant(result.name, result.type, _unread, 0, (blob[1], int(blob[2])))
    literal = _LITERAL.search(attributes)
    if literal is None:
        return Constant(result.name, result.type, _unread)
    value = np.asarray(literal[1] if literal[2] is None else literal[2] == "true")
    return Constant(result.name, result.type, lambda: value)


def _unread() -> Any:
    raise ModelFileError("the constants of a compiled model are not read")
