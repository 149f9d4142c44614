"""What to export, checked before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from care_mobile.agreement import MAX_DB
from care_mobile.errors import UsageError
from care_mobile.frozen import Frozen
from care_mobile.inputs import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    InputRange,
    Preprocessing,
    Resolution,
)
from care_mobile.models.catalog import (
    AS_BUILT,
    CARE_MIN_SIDE,
    CARE_MODELS,
    check_name,
    slug,
)

from . import targets as registry
from .quantize.calibration import DEFAULT_COUNT, MAX_COUNT
from .quantize.precision import is_quantized
from .targets import Options, Target, Variant
from .targets.coreml import MAX_IOS, MIN_IOS
from .targets.onnx import MAX_OPSET, MIN_OPSET

DEFAULT_RESOLUTION = Resolution(width=224, height=224)


class ExportRequest(Frozen):
    """All that `export_bundles` needs to know. `checked` validates what types cannot."""

    models: tuple[str, ...] = ("care_s0",)
    targets: tuple[str, ...] = ("all",)
    resolutions: tuple[Resolution, ...] = (DEFAULT_RESOLUTION,)
    weights: str = "random:0"
    checkpoint_entry: str | None = None
    precision: str | None = None
    output: Path = Path("bundles")
    num_classes: int | None = Field(None, ge=1, le=1_000_000)
    in_channels: int | None = Field(None, ge=1, le=64)
    features_only: bool = False
    input_range: InputRange = InputRange.NORMALIZED
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    with_passes: tuple[str, ...] = ()
    skip_passes: tuple[str, ...] = ()
    options: Options = Options()
    keep_failed: bool = False
    explain: bool = False
    seed: int = 0
    calibration: Path | None = None
    calibration_count: int = Field(DEFAULT_COUNT, ge=1, le=MAX_COUNT)
    keep_float: int = Field(0, ge=0)
    data: Path | None = None
    data_limit: int | None = Field(None, ge=1)
    max_drop_points: float | None = Field(None, ge=0, le=100)
    min_psnr_db: float | None = Field(None, gt=0, lt=MAX_DB)

    def model_options(self) -> dict[str, int | bool]:
        """Options for the model's factory; only those the user gave."""
        given = {"num_classes": self.num_classes, "in_channels": self.in_channels}
        chosen: dict[str, int | bool] = {k: v for k, v in given.items() if v is not None}
        return chosen | ({"features_only": True} if self.features_only else {})

    def preprocessing(self, resolution: Resolution) -> Preprocessing:
        channels = self.in_channels or 3
        usual = channels == len(IMAGENET_MEAN)
        return Preprocessing(
            resolution=resolution,
            input_range=self.input_range,
            mean=self.mean or (IMAGENET_MEAN if usual else (0.5,) * channels),
            std=self.std or (IMAGENET_STD if usual else (0.5,) * channels),
            color={1: "L", 3: "RGB"}.get(channels, f"{channels} channels"),
        )

    def subjects(self) -> list[tuple[str, Resolution]]:
        """Every (model, resolution), each once."""
        models, sizes = dict.fromkeys(self.models), dict.fromkeys(self.resolutions)
        return [(model, size) for model in models for size in sizes]

    def quantized(self) -> bool:
        """Whether any target is asked for an integer precision."""
        precisions = [registry.precision_for(t, self.precision) for t in self.chosen_targets()]
        return any(is_quantized(precision) for precision in precisions)

    def chosen_targets(self) -> list[Target]:
        names = [t.name for t in registry.TARGETS] if "all" in self.targets else self.targets
        return [registry.get_target(name) for name in dict.fromkeys(names)]

    def variant(self, target: Target) -> Variant:
        """The capture that `target` starts from."""
        return target.variant(self.options, registry.precision_for(target, self.precision))

    def bundle_name(self, model: str, target: Target, resolution: Resolution) -> str:
        """`<model>-<target>-<precision>[-WxH]`."""
        precision = registry.precision_for(target, self.precision)
        size = "" if resolution == DEFAULT_RESOLUTION else f"-{resolution}"
        return f"{slug(model)}-{target.name}-{precision}{size}"

    def checked(self) -> ExportRequest:
        """This request, or the first thing wrong with it.

        Raises:
            UsageError: for names that do not exist and values that cannot go together.
        """
        for target in self.chosen_targets():
            registry.precision_for(target, self.precision)
        for model in self.models:
            _check_model(model, self.resolutions)
        fresh = [model for model in self.models if model in CARE_MODELS]
        if self.weights == AS_BUILT and fresh:
            raise UsageError(
                f"{fresh[0]} is built without trained weights", "name a checkpoint, or random:0"
            )
        if len(set(self.models)) > 1 and not self.weights.startswith(("random:", AS_BUILT)):
            raise UsageError(
                "one weights file fits one model", "export each model with its file in its own call"
            )
        _check_distinct([slug(model) for model in dict.fromkeys(self.models)])
        self._check_quantization()
        self._check_data()
        self._check_normalization()
        self._check_options()
        return self

    def _check_quantization(self) -> None:
        given = {
            "--calibration": self.calibration is not None,
            "--keep-float": self.keep_float > 0,
            "--min-psnr": self.min_psnr_db is not None,
            "--max-drop": self.max_drop_points is not None,
        }
        asked = [name for name, present in given.items() if present]
        if asked and not self.quantized():
            raise UsageError(
                f"{asked[0]} needs an integer precision", "add --precision int8, for example"
            )

    def _check_data(self) -> None:
        if self.data is None:
            given = {"--data-limit": self.data_limit, "--max-drop": self.max_drop_points}
            for option, value in given.items():
                if value is not None:
                    raise UsageError(f"{option} needs labelled images", "add --data FOLDER")
        elif self.features_only:
            raise UsageError("--data needs a classifier, not --features-only")

    def _check_normalization(self) -> None:
        channels = self.in_channels or 3
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != channels:
                raise UsageError(
                    f"--{name} has {len(values)} values for {channels} channels",
                    "give one per channel",
                )
        if self.std is not None and min(self.std) <= 0:
            raise UsageError("--std must be positive")

    def _check_options(self) -> None:
        options = self.options
        if not MIN_OPSET <= options.opset <= MAX_OPSET:
            raise UsageError(
                f"--opset {options.opset} is out of range",
                f"from {MIN_OPSET} (GELU as one operator) to {MAX_OPSET}",
            )
        if not MIN_IOS <= options.min_ios <= MAX_IOS:
            raise UsageError(f"--min-ios {options.min_ios}: choose {MIN_IOS} to {MAX_IOS}")
        if options.image_input and self.input_range is not InputRange.BYTE:
            raise UsageError(
                "an image input holds values in 0..255", f"--input-range {InputRange.BYTE.value}"
            )
        if options.image_input and (self.in_channels or 3) not in (1, 3):
            raise UsageError("an image input has 1 or 3 channels")
        if options.labels and self.features_only:
            raise UsageError("labels need a classifier, not --features-only")


def _check_model(name: str, resolutions: Sequence[Resolution]) -> None:
    check_name(name)
    for size in resolutions:
        if name in CARE_MODELS and min(size.width, size.height) < CARE_MIN_SIDE:
            raise UsageError(
                f"resolution {size} is too small for {name}", f"at least {CARE_MIN_SIDE} px a side"
            )


def _check_distinct(names: Sequence[str]) -> None:
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UsageError(
            f"two models would both be called {twice.pop()}", "export them in two calls"
        )
