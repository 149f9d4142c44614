from __future__ import annotations

import argparse
import hashlib
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from care_mobile import create_model, load_weights
from care_mobile.errors import CheckpointError, ModelError
from care_mobile.models.checkpoint import read_state_dict
from care_mobile.models.lively import draw
from care_mobile.terminal import run_command

Save = Callable[..., Path]


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def state(seed: int = 1) -> dict[str, torch.Tensor]:
    model = net()
    draw(model, seed)
    return dict(model.state_dict())


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(content: Any, name: str = "net.pth", **options: Any) -> Path:
        torch.save(content, tmp_path / name, **options)
        return tmp_path / name

    return write


def equal(have: Any, want: Any) -> bool:
    return have.keys() == want.keys() and all(torch.equal(have[k], want[k]) for k in want)


def refusal(path: Path | str, model: nn.Module | None = None, **options: Any) -> CheckpointError:
    """The error of loading `path`; the model must be untouched by it."""
    model = model or net()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, str(path), **options)
    assert equal(model.state_dict(), before)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value) + caught.value.hint
    assert caught.value.hint
    return caught.value


# What loads.


@pytest.mark.parametrize("name", ["net.pth", "net.pth.tar", "net.pt", "no_suffix"])
@pytest.mark.parametrize("legacy", [False, True])
def test_bare_state_dicts(save: Save, name: str, legacy: bool) -> None:
    path = save(state(), name, _use_new_zipfile_serialization=not legacy)
    model = net()
    weights = load_weights(model, str(path))
    assert equal(model.state_dict(), state())
    assert (weights.source, weights.random, weights.entry) == (name, False, None)
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_safetensors(tmp_path: Path) -> None:
    save_file(state(), tmp_path / "net.safetensors")
    model = net()
    assert load_weights(model, str(tmp_path / "net.safetensors")).entry is None
    assert equal(model.state_dict(), state())


@pytest.mark.parametrize("key", ["state_dict", "state_dict_ema", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wrapped_state_dicts(save: Save, key: str, prefix: str) -> None:
    path = save({key: {f"{prefix}{k}": v for k, v in state().items()}, "epoch": 3})
    model = net()
    assert load_weights(model, str(path)).entry == key
    assert equal(model.state_dict(), state())


def test_the_prefix_goes_only_where_every_key_has_it(save: Save) -> None:
    mixed = {"module.a": torch.zeros(1), "b": torch.zeros(1)}
    assert read_state_dict(save(mixed))[0].keys() == mixed.keys()
    twice = {"module.module.a": torch.zeros(1)}
    assert list(read_state_dict(save(twice))[0]) == ["module.a"]


def test_averaged_weights_are_preferred(save: Save) -> None:
    path = save({"model": state(1), "state_dict": state(2), "state_dict_ema": state(3)})
    found, entry = read_state_dict(path)
    assert entry == "state_dict_ema"
    assert equal(found, state(3))


@pytest.mark.parametrize(("entry", "seed"), [("model", 1), ("state_dict", 2), ("mine", 4)])
def test_an_entry_can_be_chosen(save: Save, entry: str, seed: int) -> None:
    path = save({"model": state(1), "state_dict": state(2), "mine": state(4)})
    found, used = read_state_dict(path, entry)
    assert used == entry
    assert equal(found, state(seed))


def test_a_training_checkpoint_with_its_command_line_and_optimizer(save: Save) -> None:
    model = net()
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.zeros(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    path = save(
        {
            "arch": "care_s0",
            "args": argparse.Namespace(lr=1e-3, data="/data", betas=(0.9, 0.99)),
            "optimizer": optimizer.state_dict(),
            "amp_scaler": {"scale": 65536.0},
            "metric": 78.4,
            "epoch": 299,
            "state_dict": state(),
        }
    )
    found, entry = read_state_dict(path)
    assert entry == "state_dict"
    assert equal(found, state())


def test_half_precision_and_parameters_load(save: Save) -> None:
    halves = {k: v.half() if v.is_floating_point() else v for k, v in state().items()}
    model = net()
    load_weights(model, str(save(halves)))
    assert model[0].weight.dtype == torch.float32
    torch.testing.assert_close(model[0].weight, state()["0.weight"], atol=1e-3, rtol=1e-3)
    parameters = {k: nn.Parameter(v) for k, v in state().items() if v.is_floating_point()}
    assert read_state_dict(save(parameters))[0].keys() == parameters.keys()


# Places and damage.


def test_missing_folder_and_empty(tmp_path: Path) -> None:
    assert "does not exist" in str(refusal(tmp_path / "absent.pth"))
    assert "is a folder" in str(refusal(tmp_path))
    (tmp_path / "empty.pth").touch()
    assert "is empty" in str(refusal(tmp_path / "empty.pth"))


@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_archives_say_so(save: Save, fraction: float) -> None:
    path = save({"w": torch.randn(1000)})
    content = path.read_bytes()
    path.write_bytes(content[: max(4, int(len(content) * fraction))])
    error = refusal(path)
    assert "is truncated" in str(error)
    assert "again" in error.hint


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
@pytest.mark.parametrize(
    "content",
    [
        b"<html>404: not found</html>",
        b"version https://git-lfs.github.com/spec/v1\n",
        bytes(range(256)) * 9,
        b"\0" * 64,
        b"PK\x03\x04",
        b"\x80",
        b"{}",
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    refusal(tmp_path / name)


def test_an_archive_that_claims_to_go_on_elsewhere(save: Save) -> None:
    path = save(state())
    content = path.read_bytes()
    place = content.rfind(b"PK\x06\x07")  # the locator of the index, whose end counts disks
    path.write_bytes(content[: place + 16] + b"\x01\x00\x10\x00" + content[place + 20 :])
    with pytest.raises(CheckpointError, match="damaged"):
        read_state_dict(path)


def test_truncated_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file(state(), path)
    content = path.read_bytes()
    for size in (1, 8, 100, len(content) - 1):
        path.write_bytes(content[:size])
        assert "safetensors" in str(refusal(path))


@pytest.fixture(scope="module")
def good_files(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, bytes]]:
    folder = tmp_path_factory.mktemp("good")
    small = {"a": torch.randn(3, 2), "b": torch.arange(4)}
    torch.save(small, folder / "zip.pth")
    torch.save(small, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    save_file(small, folder / "c.safetensors")
    return [(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]


def read_or_refuse(path: Path) -> None:
    """Whatever is in the file: a state dict or one clear error."""
    try:
        found, _ = read_state_dict(path)
    except CheckpointError as error:
        assert error.hint  # noqa: PT017 - either end is fine
    else:
        assert all(isinstance(v, torch.Tensor) for v in found.values())


FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(data=st.data())
def test_damage_anywhere_is_one_clear_error(
    tmp_path: Path, good_files: list[tuple[str, bytes]], data: st.DataObject
) -> None:
    name, content = data.draw(st.sampled_from(good_files))
    damaged = bytearray(content[: data.draw(st.integers(1, len(content)))])
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / name).write_bytes(damaged)
    read_or_refuse(tmp_path / name)


@FUZZ
@given(content=st.binary(min_size=1, max_size=200))
def test_random_bytes_are_one_clear_error(tmp_path: Path, content: bytes) -> None:
    for name in ("noise.pth", "noise.safetensors"):
        (tmp_path / name).write_bytes(content)
        read_or_refuse(tmp_path / name)


@FUZZ
@given(
    content=st.recursive(
        st.none() | st.integers() | st.text(max_size=5) | st.just(torch.zeros(2)),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["model", "state_dict", "a"]) | st.integers(0, 2), inner, max_size=3
            )
        ),
        max_leaves=8,
    )
)
def test_any_content_is_a_state_dict_or_one_clear_error(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "any.pth")
    read_or_refuse(tmp_path / "any.pth")


# Hostile files.


class Hostile:
    """Runs code when unpickled the usual way."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return eval, (f"open({str(self.marker)!r}, 'w')",)


def hostile_files(folder: Path) -> dict[str, Path]:
    content = {"state_dict": {"w": torch.zeros(2), "x": Hostile(folder / "ran")}}
    bare = {"state_dict": Hostile(folder / "ran")}
    torch.save(content, folder / "zip.pth")
    torch.save(content, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(content, folder / "zip4.pth", pickle_protocol=4)
    for protocol in (2, 4, 5):
        (folder / f"pickle{protocol}.pth").write_bytes(pickle.dumps(bare, protocol))
    return {path.stem: path for path in folder.glob("*.pth")}


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle2", "zip4", "pickle4", "pickle5"])
def test_code_in_a_checkpoint_does_not_run(
    tmp_path: Path, kind: str, recwarn: pytest.WarningsRecorder
) -> None:
    path = hostile_files(tmp_path)[kind]
    error = refusal(path)
    assert not (tmp_path / "ran").exists()
    assert "run code" in str(error)
    assert "refused" in str(error)
    assert kind.endswith(("4", "5")) or "(eval)" in str(error)
    assert ".safetensors" in error.hint
    assert not recwarn.list


def test_the_hostile_file_would_run(tmp_path: Path) -> None:
    """Else the test above proves nothing."""
    path = hostile_files(tmp_path)["pickle4"]
    pickle.loads(path.read_bytes())["state_dict"].close()
    assert (tmp_path / "ran").exists()


def test_a_refused_file_ends_a_command_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = hostile_files(tmp_path)["zip"]
    with pytest.raises(SystemExit) as ended:
        run_command(lambda: load_weights(net(), str(path)))
    assert ended.value.code == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"error: checkpoint {path} wants to run code")
    assert second.startswith("  try: ")


@pytest.mark.parametrize("whole", [nn.Linear(2, 2), {"model": nn.Linear(2, 2)}])
def test_whole_modules_are_refused(save: Save, whole: Any) -> None:
    assert "torch.nn.modules.linear.Linear" in str(refusal(save(whole)))


def test_a_torchscript_archive_is_refused_quietly(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "net.pt")
    refusal(tmp_path / "net.pt")
    assert not recwarn.list


# Content that is not these weights.


@pytest.mark.parametrize(
    "content", [{}, [], 3, "text", {"epoch": 3}, {"a": 1.0}, {1: torch.zeros(1)}, {"model": {}}]
)
def test_no_state_dict(save: Save, content: Any) -> None:
    assert "holds no state dict" in str(refusal(save(content)))


def test_an_entry_that_is_not_there(save: Save) -> None:
    error = refusal(save({"model": state(), "epoch": 1}), entry="weights")
    assert "no entry 'weights'" in str(error)
    assert "'model', 'epoch'" in error.hint
    assert "holds no state dict" in str(refusal(save({"epoch": 1}), entry="epoch"))
    assert "no entry" in str(refusal(save([1]), entry="model"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("key", ["0.weight", "1.running_var"])
def test_weights_that_are_not_finite(save: Save, key: str, value: float) -> None:
    broken = state()
    broken[key].flatten()[-1] = value
    assert f"{key} holds NaN or infinity" in str(refusal(save(broken)))


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(3).to_sparse(),
        torch.zeros(3, dtype=torch.complex64),
        torch.zeros(3, device="meta"),
    ],
)
def test_tensors_of_special_kinds(save: Save, value: torch.Tensor) -> None:
    assert "w is no plain tensor" in str(refusal(save({"w": value})))


def test_eight_bit_floats_are_checked_too(save: Save) -> None:
    assert "w" in read_state_dict(save({"w": torch.ones(3).to(torch.float8_e4m3fn)}))[0]
    broken = torch.tensor([float("nan")]).to(torch.float8_e4m3fn)
    assert "NaN" in str(refusal(save({"w": broken})))


def test_missing_extra_and_reshaped_keys_are_named(save: Save) -> None:
    other = state()
    del other["0.bias"]
    other["extra"] = torch.zeros(1)
    other["1.weight"] = torch.zeros(5)
    text = str(refusal(save(other)))
    for part in ("missing 0.bias", "unexpected extra", "1.weight is [5], not [4]"):
        assert part in text


def test_many_differences_are_counted(save: Save) -> None:
    text = str(refusal(save({f"k{i}": torch.zeros(1) for i in range(10)})))
    assert text.count("missing") == 4
    assert f"and {10 + len(state()) - 4} more" in text


# Advice for CARE checkpoints. Expanded zeros keep the files small.


def care_state(name: str, **options: Any) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        like = create_model(name, **options).state_dict()
    return {k: torch.zeros((), dtype=v.dtype).expand(v.shape) for k, v in like.items()}


@pytest.fixture(scope="module")
def s0() -> nn.Module:
    with torch.device("meta"):
        return create_model("care_s0")


def advice(model: nn.Module, path: Path) -> str:
    with pytest.raises(CheckpointError, match="does not fit the model") as caught:
        load_weights(model, str(path))
    return caught.value.hint


def test_a_checkpoint_of_another_size_names_it(s0: nn.Module, save: Save) -> None:
    assert advice(s0, save(care_state("care_s1"))).startswith("--model care_s1")
    assert advice(s0, save(care_state("care_s2"))).startswith("--model care_s2")


def test_other_classes_and_channels_name_their_options(s0: nn.Module, save: Save) -> None:
    path = save(care_state("care_s0", num_classes=10, in_channels=1))
    hint = advice(s0, path)
    assert hint == "--model care_s0 --in-channels 1 --num-classes 10"


def test_a_checkpoint_without_classifier(s0: nn.Module, save: Save) -> None:
    hint = advice(s0, save(care_state("care_s0", features_only=True)))
    assert hint == "--model care_s0 --in-channels 3 --features-only"


@pytest.mark.parametrize(
    "shapes",
    [
        {"stem.0.weight": (32, 3, 4, 4), "head.fc.weight": ()},
        {"stem.0.weight": (32, 3, 4, 4), "head.fc.weight": (10, 0, 3)},
        {"stem.0.weight": (), "head.fc.weight": (10, 1024)},
        {"stem.0.weight": (32, 3, 4, 4), "head.fc.weight": (10, 1024)},
        {"backbone.weight": (3,)},
    ],
)
def test_no_advice_where_none_fits(s0: nn.Module, save: Save, shapes: dict[str, Any]) -> None:
    path = save({k: torch.zeros(shape) for k, shape in shapes.items()})
    assert advice(s0, path) == "choose the --model it was trained with"


def test_an_authors_checkpoint_loads_strictly(save: Save, lively_s0: nn.Module) -> None:
    path = save({"state_dict": lively_s0.state_dict()}, "CARETrans_S0.pth.tar")
    model = create_model("care_s0")
    assert load_weights(model, str(path)).entry == "state_dict"
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(model.eval()(x), lively_s0(x))
    features = create_model("care_s0", features_only=True)
    load_weights(features, str(path))
    assert torch.equal(features.stem[0].weight, lively_s0.stem[0].weight)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("source", ["as-built", "random:0"])
def test_a_network_whose_weights_have_no_shape_yet(source: str) -> None:
    with pytest.raises(ModelError, match=r"not built to the end: 0\.weight has no shape"):
        load_weights(nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d()), source)
