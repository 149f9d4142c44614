from __future__ import annotations

import os
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

Feed = dict[str, NDArray[Any]]
RUNTIME = get_runtime("executorch")
ONE = RuntimeOptions(threads=1)  # the pool keeps one size for the whole process


def test_outputs_in_the_manifests_order(pte_bundle: Bundle, feed: Feed) -> None:
    session = RUNTIME.load(pte_bundle, ONE)
    total, difference = session.run({"y": feed["y"], "x": feed["x"]})
    np.testing.assert_allclose(total, feed["x"] + feed["y"], rtol=1e-6)
    np.testing.assert_allclose(difference, feed["x"] - feed["y"], rtol=1e-6)


def test_results_outlive_the_next_run_and_the_session(pte_bundle: Bundle, feed: Feed) -> None:
    session = RUNTIME.load(pte_bundle, ONE)
    first = session.run(feed)[0]
    session.run(feed | {"x": np.full((2, 3), 99.0, np.float32)})
    del session
    np.testing.assert_allclose(first, feed["x"] + feed["y"], rtol=1e-6)


def test_wrong_inputs_are_the_callers_mistake(pte_bundle: Bundle, feed: Feed) -> None:
    session = RUNTIME.load(pte_bundle, ONE)
    with pytest.raises(UsageError, match="takes inputs"):
        session.run({"x": feed["x"]})
    with pytest.raises(UsageError, match="has shape"):
        session.run(feed | {"x": np.zeros((3, 3), np.float32)})


def test_a_manifest_that_lies_about_shapes_is_a_failure(pte_bundle: Bundle, feed: Feed) -> None:
    x, y = pte_bundle.manifest.inputs
    inputs = (x.model_copy(update={"shape": (2, 4)}), y)
    bundle = Bundle(pte_bundle.path, pte_bundle.manifest.model_copy(update={"inputs": inputs}))
    with pytest.raises(RuntimeFailure, match="pte: ExecuTorch failed"):
        RUNTIME.load(bundle, ONE).run(feed | {"x": np.zeros((2, 4), np.float32)})


def test_it_describes_what_decides_speed(pte_bundle: Bundle) -> None:
    assert RUNTIME.load(pte_bundle, ONE).describe() == {
        "runtime": "executorch",
        "version": version("executorch"),
        "backend": "XNNPACK",
        "threads": "1",
    }


@pytest.mark.parametrize("content", [b"", b"no model", b"\0" * 200])
def test_a_corrupt_model_is_one_line(write_bundle: Callable[..., Path], content: bytes) -> None:
    path = write_bundle("corrupt", content, model_file="model.pte", runtime="executorch")
    with pytest.raises(RuntimeFailure, match="corrupt: ExecuTorch refuses it") as caught:
        RUNTIME.load(Bundle.open(path), ONE)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 5


def test_a_truncated_model_is_one_line(write_bundle: Callable[..., Path], pte_model: bytes) -> None:
    path = write_bundle("cut", pte_model[: len(pte_model) // 2], model_file="model.pte")
    with pytest.raises(RuntimeFailure, match="cut: ExecuTorch refuses it"):
        RUNTIME.load(Bundle.open(path), ONE)


PROCESS = """
import sys
from pathlib import Path
import numpy as np
from care_mobile.bundle import Bundle
from care_mobile.errors import RuntimeFailure
from care_mobile.runtimes import RuntimeOptions, get_runtime

runtime = get_runtime("executorch")
feed = {"x": np.ones((2, 3)), "y": np.ones((1, 3))}
for argument in sys.argv[1:]:
    path, _, threads = argument.partition("=")
    try:
        session = runtime.load(Bundle.open(Path(path)), RuntimeOptions(threads=int(threads)))
    except RuntimeFailure as error:
        print(f"refused: {error} | {error.hint}")
    else:
        from executorch.extension.pybindings import _portable_lib as bindings
        print(bindings._threadpool_get_thread_count(), session.run(feed)[0].sum())
"""


def test_one_pool_size_per_process_and_no_chatter(
    script: Callable[..., Any], pte_bundle: Bundle, write_bundle: Callable[..., Path]
) -> None:
    corrupt = write_bundle("corrupt", b"no model", model_file="model.pte", runtime="executorch")
    good = pte_bundle.path
    threads = (os.cpu_count() or 1) + 1  # never the pool's own choice
    done = script(
        PROCESS, f"{corrupt}={threads}", f"{good}={threads}", f"{good}=1", f"{good}={threads}"
    )
    assert (done.returncode, done.stderr) == (0, "")
    refused, first, other, again = done.stdout.splitlines()
    assert refused.startswith("refused: corrupt: ExecuTorch refuses it")
    assert first == again == f"{threads} 12.0"
    assert f"already has {threads} threads" in other
    assert "one thread count per run" in other


def test_a_missing_kernel_is_named(write_bundle: Callable[..., Path]) -> None:
    """ExecuTorch itself says "error: 0x:14"."""
    import torch
    from executorch.exir import EdgeCompileConfig, to_edge

    class Gamma(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.digamma(x)

    program = torch.export.export(Gamma(), (torch.ones(2, 3),))
    edge = to_edge(program, compile_config=EdgeCompileConfig(_check_ir_validity=False))
    content = bytes(edge.to_executorch().buffer)
    path = write_bundle("gamma", content, model_file="model.pte", runtime="executorch")
    with pytest.raises(RuntimeFailure, match=r"it has no kernel for aten::digamma\.out$"):
        RUNTIME.load(Bundle.open(path), ONE)
