"""Names of networks and how to build them. No torch until one is built."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, unknown_name
from ..requirements import load

if TYPE_CHECKING:
    from torch import nn

CARE_MODELS = {"care_s0": "CARE_S0", "care_s1": "CARE_S1", "care_s2": "CARE_S2"}
"""Catalog name -> configuration in `care_mobile.models.care`."""
CARE_MIN_SIDE = 32
"""Smallest side of a CARE input in pixels: the stem and three downsamplings divide it by
4 * 2 * 2 * 2."""
CARE_CLASSES = 1000
"""Classes of a CARE that is built without `num_classes`: ImageNet's."""
AS_BUILT = "as-built"
"""Weights that a factory has loaded itself."""


def default_weights(name: str) -> str:
    """Where the weights of a model come from if nobody says: a factory of the user's keeps what it
    has loaded, the catalog's networks have nothing of their own."""
    return AS_BUILT if ":" in name else "random:0"


def check_name(name: str) -> None:
    """Refuse a name that is neither in the catalog nor a factory's.

    Raises:
        UsageError: with the nearest names.
    """
    if ":" not in name and name not in CARE_MODELS:
        raise unknown_name("model", name, [*CARE_MODELS, "package.module:factory"])


def create_model(name: str, **options: Any) -> nn.Module:
    """Build a network, freshly initialised, in training mode.

    Args:
        name: a name of the catalog, or `package.module:factory` for your own network; the
            factory is called with `options` and returns an nn.Module.
        options: for CARE `num_classes`, `in_channels`, `drop_path`, `dropout`, `features_only`.
            `in_channels` is left out for a factory that does not take it.

    Raises:
        UsageError: for a name the catalog does not know.
        ModelError: if the factory cannot be found, fails or returns something else.
        MissingDependencyError: without torch.
    """
    if ":" in name:
        return _from_factory(name, options)
    check_name(name)
    load("torch", "export")
    care = importlib.import_module("care_mobile.models.care")
    try:
        model: nn.Module = care.CARE(getattr(care, CARE_MODELS[name]), **options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{name} cannot be built: {error}") from error
    return model


def slug(name: str) -> str:
    """The name as it appears in file names."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", name.rpartition(":")[2]).strip("._") or "model"


def _wanted(factory: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """`options` without the number of channels where the factory does not ask for it.

    It also says what the network eats, which a factory of one kind of image knows by itself.
    """
    if "in_channels" in options and "in_channels" in _refused(factory, options):
        return {key: value for key, value in options.items() if key != "in_channels"}
    return options


def _refused(factory: Callable[..., Any], options: dict[str, Any]) -> list[str]:
    """Names of the options that the factory does not take, as far as its signature tells."""
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # some callables have none that can be read
        return []
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return []
    return [key for key in options if key not in parameters]


def _from_factory(name: str, options: dict[str, Any]) -> nn.Module:
    module_name, _, attribute = name.partition(":")
    torch = load("torch", "export")
    # Console scripts do not have the current folder on the path; users' own modules live there.
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        factory = importlib.import_module(module_name)
        for part in attribute.split("."):
            factory = getattr(factory, part)
    except Exception as error:  # importing runs the user's code too
        raise ModelError(
            f"model {name!r}: {type(error).__name__}: {error}",
            "write package.module:factory, importable from here",
        ) from error
    if not callable(factory):
        raise ModelError(f"model {name!r} is no factory", "name a function or a class")
    wanted = _wanted(factory, options)
    try:
        model = factory(**wanted)
    except Exception as error:  # anything the user's code raises
        refused = [f"--{key.replace('_', '-')}" for key in _refused(factory, wanted)]
        raise ModelError(
            f"model {name!r} failed: {type(error).__name__}: {error}",
            f"leave {' and '.join(refused)} out: the factory does not take it"
            if refused
            else "it is called without arguments, except those given as options",
        ) from error
    if not isinstance(model, torch.nn.Module):
        raise ModelError(
            f"model {name!r} returned {type(model).__name__}, not an nn.Module",
            "name a function that builds the network, or its class",
        )
    network: nn.Module = model
    return network
