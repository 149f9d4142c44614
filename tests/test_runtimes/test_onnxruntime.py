from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from care_mobile.bundle import Bundle
from care_mobile.errors import RuntimeFailure, UsageError
from care_mobile.requirements import version
from care_mobile.runtimes import RuntimeOptions, get_runtime

from .conftest import onnx_model

Feed = dict[str, NDArray[Any]]
RUNTIME = get_runtime("onnxruntime")


def test_outputs_in_the_manifests_order(onnx_bundle: Bundle, feed: Feed) -> None:
    session = RUNTIME.load(onnx_bundle, RuntimeOptions())
    total, difference = session.run({"y": feed["y"], "x": feed["x"]})
    np.testing.assert_allclose(total, feed["x"] + feed["y"], rtol=1e-6)
    np.testing.assert_allclose(difference, feed["x"] - feed["y"], rtol=1e-6)


def test_a_free_batch_dimension(onnx_bundle: Bundle, feed: Feed) -> None:
    session = RUNTIME.load(onnx_bundle, RuntimeOptions())
    assert session.run(feed | {"x": np.zeros((7, 3))})[0].shape == (7, 3)


def test_wrong_inputs_are_the_callers_mistake(onnx_bundle: Bundle, feed: Feed) -> None:
    session = RUNTIME.load(onnx_bundle, RuntimeOptions())
    with pytest.raises(UsageError):
        session.run({"x": feed["x"]})
    with pytest.raises(UsageError):
        session.run(feed | {"x": np.zeros((2, 4), np.float32)})


def test_it_describes_what_decides_speed(onnx_bundle: Bundle) -> None:
    assert RUNTIME.load(onnx_bundle, RuntimeOptions(threads=2)).describe() == {
        "runtime": "onnxruntime",
        "version": version("onnxruntime"),
        "backend": "CPUExecutionProvider",
        "threads": "2",
    }


def test_threads_reach_the_session(onnx_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    seen: list[Any] = []
    real = onnxruntime.InferenceSession

    def spy(path: str, settings: Any, providers: list[str]) -> Any:
        seen.append((settings.intra_op_num_threads, settings.inter_op_num_threads, providers))
        return real(path, settings, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    RUNTIME.load(onnx_bundle, RuntimeOptions(threads=2))
    assert seen == [(2, 1, ["CPUExecutionProvider"])]


@pytest.mark.parametrize("content", [b"no model", b"", onnx_model()[:-40], b"\x08" * 50])
def test_a_corrupt_model_is_one_line(
    write_bundle: Callable[..., Path], content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    bundle = Bundle.open(write_bundle("corrupt", content))
    with pytest.raises(RuntimeFailure, match="corrupt: onnxruntime refuses it") as caught:
        RUNTIME.load(bundle, RuntimeOptions())
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 5
    assert capfd.readouterr() == ("", "")


def test_a_manifest_that_names_other_outputs(
    write_bundle: Callable[..., Path], onnx_bundle: Bundle, feed: Feed
) -> None:
    manifest = onnx_bundle.manifest
    wrong = tuple(o.model_copy(update={"name": "logits"}) for o in manifest.outputs)
    bundle = Bundle(onnx_bundle.path, manifest.model_copy(update={"outputs": wrong}))
    with pytest.raises(RuntimeFailure, match="onnxruntime failed"):
        RUNTIME.load(bundle, RuntimeOptions()).run(feed)
