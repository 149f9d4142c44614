from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from care_mobile import create_model
from care_mobile.errors import MissingDependencyError, ModelError, UsageError
from care_mobile.models import catalog
from care_mobile.models.catalog import CARE_MODELS, slug

OWN = """
import torch

class Net(torch.nn.Linear):
    class Inner:
        @staticmethod
        def make(width=2):
            return torch.nn.Linear(width, 1)

def make(width=3, **options):
    return Net(width, 1)

def one_channel(num_classes=2):
    return torch.nn.Conv2d(1, num_classes, 1)

def fails():
    raise KeyError("no such backbone")

def returns_text():
    return "a model"

number = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the current folder, which is not on the path."""
    name = "own_networks_of_a_test"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    monkeypatch.delitem(sys.modules, name, raising=False)
    yield name
    sys.modules.pop(name, None)


@pytest.mark.parametrize("name", CARE_MODELS)
def test_catalog_builds_its_names_in_training_mode(name: str) -> None:
    with torch.device("meta"):
        assert create_model(name).training


def test_a_factory_that_takes_no_channels_is_not_given_any(own: str) -> None:
    network = create_model(f"{own}:one_channel", in_channels=1, num_classes=5)
    assert tuple(network.weight.shape) == (5, 1, 1, 1)
    with pytest.raises(ModelError, match="unexpected keyword argument 'width'"):
        create_model(f"{own}:one_channel", width=1)


@pytest.mark.parametrize("name", ["care_s3", "CARE_S0", "cares1", "care-s0"])
def test_near_misses_get_the_nearest_names(name: str) -> None:
    with pytest.raises(UsageError, match="unknown model") as caught:
        create_model(name)
    assert caught.value.hint.startswith("did you mean care_s")


def test_other_names_get_all_names() -> None:
    with pytest.raises(UsageError) as caught:
        create_model("vit")
    assert all(name in caught.value.hint for name in [*CARE_MODELS, "package.module:factory"])


@pytest.mark.parametrize("options", [{"width": 3}, {"num_classes": -1}, {"in_channels": -3}])
def test_options_that_cannot_be_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ModelError, match="care_s0 cannot be built"):
        create_model("care_s0", **options)


def test_without_torch_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr("care_mobile.requirements.version", lambda name: None)
    for name in ("care_s0", "own:make"):
        with pytest.raises(MissingDependencyError, match="torch is not installed") as caught:
            create_model(name)
        assert "care-mobile[export]" in caught.value.hint


def test_own_factory_from_the_current_folder(own: str) -> None:
    model = create_model(f"{own}:make", width=5)
    assert isinstance(model, nn.Linear)
    assert model.in_features == 5


def test_own_factory_may_be_nested(own: str) -> None:
    assert create_model(f"{own}:Net.Inner.make", width=4).in_features == 4


def test_the_current_folder_joins_the_path_once(own: str) -> None:
    create_model(f"{own}:make")
    create_model(f"{own}:make")
    assert sys.path.count(str(Path.cwd())) == 1


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("fails", "failed: KeyError: 'no such backbone'"),
        ("returns_text", "returned str, not an nn.Module"),
        ("number", "is no factory"),
        ("absent", "has no attribute 'absent'"),
        ("", "has no attribute"),
        ("Net.absent", "has no attribute 'absent'"),
    ],
)
def test_bad_factories(own: str, attribute: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        create_model(f"{own}:{attribute}")
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["no_such_package.networks:make", ":make", ".relative:make", ":"])
def test_modules_that_cannot_be_imported(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        create_model(name)
    assert "package.module:factory" in caught.value.hint


@pytest.mark.parametrize("source", ["def make(:", "1 / 0", "import no_such_dependency"])
def test_modules_that_fail_while_imported(own: str, source: str) -> None:
    Path(f"{own}.py").write_text(source)
    with pytest.raises(ModelError, match=own):
        create_model(f"{own}:make")


def test_an_option_the_factory_does_not_take(own: str) -> None:
    with pytest.raises(ModelError, match="TypeError") as refused:
        create_model(f"{own}:fails", num_classes=3)
    assert refused.value.hint == "leave --num-classes out: the factory does not take it"


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("care_s0", "care_s0"),
        ("package.module:make", "make"),
        ("package.module:Net.make", "Net.make"),
        ("../../etc/passwd", "etc_passwd"),
        ("a b/c\\d", "a_b_c_d"),
        ("m:", "model"),
        ("..", "model"),
    ],
)
def test_slug_is_a_plain_file_name(name: str, want: str) -> None:
    assert slug(name) == want
    assert catalog.slug(want) == want


@pytest.mark.parametrize("name", ["fails", "returns_text"])
def test_a_factory_that_gives_no_network_is_told_what_to_do(own: str, name: str) -> None:
    with pytest.raises(ModelError) as caught:
        create_model(f"{own}:{name}")
    assert caught.value.hint
