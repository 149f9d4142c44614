"""The choice among Core ML's variants, on forecasts and on lowered programs."""

from __future__ import annotations

from pathlib import Path

import pytest
from networks import lively, tiny_care
from torch.export import ExportedProgram

from care_mobile.coreml import open_package
from care_mobile.coreml.forecast import Forecast, OperationForecast, Outlook, forecast
from care_mobile.export.capture import capture, input_spec, output_specs
from care_mobile.export.equivalence import reparameterize
from care_mobile.export.reparam import DEFAULT, OPTIONAL, further
from care_mobile.export.targets import LowerJob, Options, Variant
from care_mobile.export.targets.coreml import MODEL_FILE, CoreMLTarget
from care_mobile.export.targets.coreml_variants import CHOSEN, VARIANTS, choose
from care_mobile.inputs import Preprocessing, Resolution


def forecast_of(**macs: tuple[int, ...]) -> Forecast:
    """One operation per number of multiply-accumulates, by outlook."""
    operations = tuple(
        OperationForecast(operation="x", operator="conv", outlook=Outlook(outlook), macs=count)
        for outlook, counts in macs.items()
        for count in counts
    )
    total = sum(operation.macs or 0 for operation in operations)
    return Forecast(
        macs=total, uncounted=0, wasted_bytes=0, operations=operations, findings=(), rules=()
    )


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"expected": (9, 9)}, {"unlikely": (1,)}),
        ({"unlikely": (1,), "expected": (9, 9)}, {"unlikely": (2,)}),
        ({"expected": (9, 9)}, {"doubtful": (1,)}),
        ({"doubtful": (9,)}, {"unlikely": (1,)}),
        ({"expected": (9,)}, {"expected": (1, 1)}),
        ({"expected": (1, 1)}, {"expected": (1, 2)}),
    ],
)
def test_the_order(better: dict[str, tuple[int, ...]], worse: dict[str, tuple[int, ...]]) -> None:
    forecasts = {"worse": forecast_of(**worse), "better": forecast_of(**better)}
    assert choose(forecasts) == "better"


def test_the_first_of_equals() -> None:
    same = forecast_of(expected=(1,))
    assert choose({"b": same, "a": same}) == "b"


def test_nothing_to_choose_from() -> None:
    with pytest.raises(ValueError, match="empty"):
        choose({})


def test_variants_name_optional_passes() -> None:
    names = {rule.name for rule in OPTIONAL}
    assert all(names.issuperset(passes) for passes in VARIANTS.values())
    assert CHOSEN in VARIANTS


def test_the_chosen_variant_is_the_best_of_all_lowered(tmp_path: Path) -> None:
    preprocessing = Preprocessing(resolution=Resolution(width=64, height=64))
    shared = reparameterize(lively(tiny_care()).float(), DEFAULT, preprocessing, lively=True)

    def program(passes: tuple[str, ...]) -> ExportedProgram:
        return capture(shared.then(further(passes, DEFAULT)).model, preprocessing, Variant())

    job = LowerJob(
        model="tiny",
        precision="fp16",
        inputs=(input_spec(preprocessing, Variant(), image=False),),
        outputs=output_specs(program(()), Variant()),
        preprocessing=preprocessing,
        weights="random:0",
        options=Options(),
    )
    found = {}
    for name, passes in VARIANTS.items():
        folder = tmp_path / name
        folder.mkdir()
        CoreMLTarget().lower(program(passes), job, folder)
        found[name] = forecast(open_package(folder / MODEL_FILE))
    assert choose(found) == CHOSEN
    operations = [len(f.operations) for f in found.values()]
    assert operations == sorted(operations, reverse=True)
    kinds = {operation.operator for operation in found[CHOSEN].operations}
    assert not kinds & {"batch_norm", "transpose", "inverse", "elu", "pow"}
