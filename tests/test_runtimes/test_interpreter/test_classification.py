from __future__ import annotations

import numpy as np
import pytest
from ml_programs import mb

from care_mobile.coreml import open_package
from care_mobile.errors import RuntimeFailure
from care_mobile.quiet import quiet
from care_mobile.runtimes.interpreter import Interpreter, Numerics

from .support import run_kernel

with quiet():
    import coremltools as ct

LABELS = [["cat", "dog", "nötür", "a b"], [7, -1, 10**12, 0]]
X = np.array([[0.1, 0.2, 0.5, 0.2]], np.float32)


@pytest.mark.parametrize("labels", LABELS, ids=["text", "integers"])
@pytest.mark.parametrize("ios", [15, 18])
@pytest.mark.parametrize("numerics", Numerics)
def test_a_converted_classifier_gives_label_and_scores(labels, ios, numerics, tmp_path):
    with quiet():
        spec = mb.TensorSpec(shape=X.shape)
        program = mb.program(input_specs=[spec])(lambda x: mb.identity(x=x, name="probabilities"))
        model = ct.convert(
            program,
            convert_to="mlprogram",
            classifier_config=ct.ClassifierConfig(list(labels), "label"),
            compute_precision=ct.precision.FLOAT32,
            minimum_deployment_target=getattr(ct.target, f"iOS{ios}"),
            skip_model_load=True,
        )
        model.save(str(tmp_path / "classifier.mlpackage"))
    package = open_package(tmp_path / "classifier.mlpackage")
    assert package.main.operations[-1].type == "classify"
    name = package.inputs[0].name
    outputs = Interpreter(package, numerics).run({name: X})
    label, scores = (outputs[output] for output in package.main.outputs)
    assert np.asarray(label).item() == labels[2]
    assert list(scores) == labels
    np.testing.assert_allclose(list(scores.values()), X[0])
    assert all(isinstance(score, float) for score in scores.values())


def test_every_class_needs_a_probability():
    values = {"probabilities": X, "classes": (["a", "b"],)}
    with pytest.raises(RuntimeFailure, match="has 2 classes for 4 probabilities"):
        run_kernel("classify", values)
