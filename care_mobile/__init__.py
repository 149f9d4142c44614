"""care-mobile: PyTorch vision backbones to verified mobile bundles, with honest latencies.

The public names below load on first use, so that importing the package stays cheap and needs no
torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bench.devices import DEVICES
    from .bundle import Bundle
    from .export.pipeline import export_bundles
    from .export.request import ExportRequest
    from .export.targets import TARGETS
    from .models.catalog import create_model
    from .models.checkpoint import load_weights
    from .runtimes import RUNTIMES

# A public name must not be a submodule's: importing that would put the module in its place.
_PUBLIC = {
    "Bundle": ".bundle",
    "DEVICES": ".bench.devices",
    "ExportRequest": ".export.request",
    "RUNTIMES": ".runtimes",
    "TARGETS": ".export.targets",
    "create_model": ".models.catalog",
    "export_bundles": ".export.pipeline",
    "load_weights": ".models.checkpoint",
}

__all__ = [
    "DEVICES",
    "RUNTIMES",
    "TARGETS",
    "Bundle",
    "ExportRequest",
    "create_model",
    "export_bundles",
    "load_weights",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
