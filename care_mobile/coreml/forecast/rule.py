"""A rule, and what it is shown: one operation with what surrounds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..macs import DECOMPRESS
from ..program import Constant, Operation, Ref
from ..types import FLOATS, TensorType, ValueType
from .results import Finding, RuleInfo, Severity

COREMLTOOLS = "coremltools documentation"
APPLE_TRANSFORMERS = "Apple, Deploying Transformers on the Apple Neural Engine"
APPLE_FORUM = "an Apple engineer on the developer forums, thread 724930"
COMMUNITY = "community measurements, a rule of thumb; see docs/coreml.md"


@dataclass(frozen=True)
class Site:
    """One operation in its program.

    Attributes:
        types: of every value that is not a constant.
        producers: the operation that computes a value, by the value's name.
        macs: its multiply-accumulates, None if unknown.
    """

    operation: Operation
    types: Mapping[str, ValueType]
    producers: Mapping[str, Operation]
    macs: int | None

    def inputs(self) -> Iterator[TensorType]:
        """Types of the computed tensors it reads."""
        for operand in self.operation.operands():
            if isinstance(operand, Ref):
                kind = self.types[operand.name]
                if isinstance(kind, TensorType):
                    yield kind

    def outputs(self) -> Iterator[TensorType]:
        for named in self.operation.outputs:
            if isinstance(named.type, TensorType):
                yield named.type

    def tensors(self) -> Iterator[TensorType]:
        yield from self.inputs()
        yield from self.outputs()

    def input(self, parameter: str = "x") -> TensorType | None:
        """Type of the tensor given for `parameter`, constant or not."""
        given = self.operation.inputs.get(parameter, ())
        if len(given) != 1:
            return None
        kind = self.types[given[0].name] if isinstance(given[0], Ref) else given[0].type
        return kind if isinstance(kind, TensorType) else None

    def producer(self, parameter: str = "x") -> Operation | None:
        """The operation that computes the tensor given for `parameter`."""
        given = self.operation.inputs.get(parameter, ())
        ref = given[0] if len(given) == 1 else None
        return self.producers.get(ref.name) if isinstance(ref, Ref) else None

    def integers(self, parameter: str) -> tuple[int, ...] | None:
        """A constant parameter as whole numbers; None if it is absent or computed."""
        value = self.operation.constant(parameter)
        if value is None:
            return None
        array = np.atleast_1d(np.asarray(value))
        return tuple(int(n) for n in array) if array.dtype.kind in "iu" else None

    def floats(self) -> Iterator[tuple[str, Constant]]:
        """Its floating-point constants, with the parameter each is given for."""
        for parameter, operands in self.operation.inputs.items():
            for operand in operands:
                if not isinstance(operand, Constant):
                    continue
                if isinstance(operand.type, TensorType) and operand.type.dtype in FLOATS:
                    yield parameter, operand

    def is_neutral(self) -> bool:
        """Whether it computes nothing on floating-point tensors."""
        operation = self.operation
        if operation.type.startswith(DECOMPRESS) or operation.type == "shape":
            return True
        kinds = list(self.tensors())
        opaque = any(not isinstance(named.type, TensorType) for named in operation.outputs)
        return not (operation.blocks or opaque or any(kind.dtype in FLOATS for kind in kinds))


Check = Callable[[Site], str | None]
"""The reason why a rule fires, or None."""


@dataclass(frozen=True)
class Rule:
    """A static rule.

    Attributes:
        source: who says so.
        fix: what an author can do.
    """

    id: str
    title: str
    severity: Severity
    source: str
    fix: str
    check: Check

    def find(self, site: Site) -> Finding | None:
        """Its finding for an operation, None if it has nothing to say."""
        reason = self.check(site)
        if reason is None:
            return None
        return Finding(
            rule=self.id,
            operation=site.operation.name,
            operator=site.operation.type,
            severity=self.severity,
            reason=reason,
            fix=self.fix,
        )

    def info(self) -> RuleInfo:
        return RuleInfo(id=self.id, title=self.title, source=self.source)


def rule(
    identifier: str, title: str, severity: Severity, source: str, fix: str
) -> Callable[[Check], Rule]:
    """Make a check a rule."""
    return lambda check: Rule(identifier, title, severity, source, fix, check)
