"""Options that would do nothing: errors, since whoever gives one expects something of it.

An option counts as given when the request names it, be it with its default value: pydantic keeps
that in `model_fields_set`, and the command line passes on only what stands there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel

from care_mobile.errors import UsageError
from care_mobile.models.catalog import AS_BUILT, CARE_MODELS

from .targets import TARGETS, Options

if TYPE_CHECKING:
    from .request import ExportRequest

_FLAGS = {
    "checkpoint_entry": "--checkpoint-key",
    "min_psnr_db": "--min-psnr",
    "max_drop_points": "--max-drop",
}
"""Where the option is not called as the field."""


@dataclass(frozen=True)
class _Rule:
    """`fields` do something only if `works`; else `situation` and `hint` say why."""

    fields: tuple[str, ...]
    works: Callable[[ExportRequest], bool]
    situation: Callable[[ExportRequest], str]
    hint: str


def flag(field: str) -> str:
    """The command line's name of a field of `ExportRequest` or `Options`."""
    return _FLAGS.get(field, "--" + field.replace("_", "-"))


def was_given(model: BaseModel, field: str) -> bool:
    """Whether whoever made `model` set `field` to something that asks for something."""
    value = getattr(model, field)
    # By identity: 0 equals False, and asks for something.
    return field in model.model_fields_set and not any(value is none for none in (None, False, ()))


def check_used(request: ExportRequest) -> None:
    """Raise a UsageError for an option that would do nothing."""
    _check_target_options(request)
    for rule in _RULES:
        for field in rule.fields:
            if was_given(request, field) and not rule.works(request):
                raise UsageError(f"{flag(field)} does nothing {rule.situation(request)}", rule.hint)


def _check_target_options(request: ExportRequest) -> None:
    """Every field of `Options` must be read by a target that makes something."""
    chosen = {order.target.name: order.target for order in request.orders()}
    read = {field for target in chosen.values() for field in target.options}
    for field in Options.model_fields:
        if was_given(request.options, field) and field not in read:
            readers = " or ".join(f"--target {t.name}" for t in TARGETS if field in t.options)
            raise UsageError(
                f"{flag(field)} does nothing for {' and '.join(chosen)}",
                f"add {readers}, or leave it out",
            )


def check_skipped(request: ExportRequest, shared: Sequence[str]) -> None:
    """Raise a UsageError for a pass to skip that would not run anyway.

    Args:
        shared: names of the passes that every target gets if none is skipped.
    """
    skipped = dict.fromkeys(request.skip_passes)
    if "all" in skipped and len(skipped) > 1:
        other = next(name for name in skipped if name != "all")
        raise UsageError(f"--skip-pass {other} does nothing with --skip-pass all", "leave it out")
    orders = request.orders()
    running = {"all", *shared, *(name for order in orders for name in order.variant.passes)}
    idle = [name for name in skipped if name not in running]
    if idle:
        targets = " and ".join(dict.fromkeys(order.target.name for order in orders))
        raise UsageError(
            f"--skip-pass {idle[0]} does nothing for {targets}",
            "that pass only runs where --with-pass asks for it",
        )


def _made(request: ExportRequest) -> str:
    return "for " + " and ".join(f"{o.target.name} in {o.precision}" for o in request.orders())


def _keeps_float(request: ExportRequest) -> bool:
    return any(order.keeps_float for order in request.orders())


def _from_file(request: ExportRequest) -> bool:
    sources = {request.weights_for(model) for model in request.models}
    return any(s != AS_BUILT and not s.startswith("random:") for s in sources)


def _weights(request: ExportRequest) -> str:
    sources = dict.fromkeys(request.weights_for(model) for model in request.models)
    return f"with weights {' and '.join(sources)}"


_RULES = (
    _Rule(
        ("calibration", "calibration_count"),
        lambda request: request.calibrates(),
        _made,
        "add a precision that needs to see images, --precision int8, or leave it out",
    ),
    _Rule(
        ("keep_float", "min_psnr_db", "max_drop_points"),
        _keeps_float,
        _made,
        "add a precision that can leave layers in float, --precision int8, or leave it out",
    ),
    _Rule(
        ("checkpoint_entry",),
        _from_file,
        _weights,
        "name the checkpoint: --weights FILE",
    ),
    _Rule(
        ("num_classes",),
        lambda request: not request.features_only or not set(request.models) <= set(CARE_MODELS),
        lambda _: "with --features-only",
        "leave one of them out",
    ),
)
