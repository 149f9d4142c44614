"""Forecasts of programs that tests write."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from ml_programs import Array, Build, write_package

from care_mobile.coreml import open_package
from care_mobile.coreml.forecast import Forecast, forecast


def forecast_of(build: Build, inputs: Mapping[str, Array]) -> Forecast:
    """Write, read and assess, while the weights are on disk."""
    with tempfile.TemporaryDirectory() as folder:
        return forecast(open_package(write_package(Path(folder) / "p.mlpackage", build, inputs)))
