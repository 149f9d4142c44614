from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import care_mobile


@pytest.mark.parametrize("name", care_mobile.__all__)
def test_public_names_load(name: str) -> None:
    assert getattr(care_mobile, name) is not None
    assert name in dir(care_mobile)


def test_every_lazy_name_is_public() -> None:
    assert sorted(care_mobile._PUBLIC) == sorted(care_mobile.__all__)


def test_public_names_are_the_ones_inside() -> None:
    from care_mobile.bundle import Bundle
    from care_mobile.export.pipeline import export_bundles
    from care_mobile.models.catalog import create_model

    assert care_mobile.Bundle is Bundle
    assert care_mobile.create_model is create_model
    assert care_mobile.export_bundles is export_bundles


def test_other_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = care_mobile.nothing
    assert not hasattr(care_mobile, "__path_of_nothing__")


def test_no_public_name_is_a_submodules() -> None:
    """Importing the submodule would put the module in the name's place."""
    folders = {module.name for module in pkgutil.iter_modules(care_mobile.__path__)}
    assert not (folders | {"export", "bench"}) & care_mobile._PUBLIC.keys()


def test_public_names_are_the_same_whatever_was_imported_before() -> None:
    source = (
        "import care_mobile, care_mobile.export.cli, care_mobile.bench.cli\n"
        "from care_mobile import export_bundles, Bundle\n"
        "assert callable(export_bundles) and callable(care_mobile.export_bundles)"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
