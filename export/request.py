"""What to export, checked before any work is done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from care_mobile.agreement import MAX_DB
from care_mobile.frozen import Frozen
from care_mobile.inputs import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    InputRange,
    Preprocessing,
    Resolution,
)
from care_mobile.models.catalog import default_weights, slug

from . import targets as registry
from .quantize.calibration import DEFAULT_COUNT, MAX_COUNT
from .quantize.precision import is_quantized
from .targets import Options, Target, Variant

DEFAULT_RESOLUTION = Resolution(width=224, height=224)


@dataclass(frozen=True)
class Order:
    """A file to make of every network: one precision of one target."""

    target: Target
    precision: str
    variant: Variant
    """The capture it starts from."""
    label: str
    """The target's name; with its precision where the target's precisions differ in `variant`."""

    @property
    def calibrated(self) -> bool:
        """Whether its file depends on calibration images."""
        return self.precision in self.target.calibrated

    @property
    def keeps_float(self) -> bool:
        """Whether it can leave layers in float."""
        return self.precision in self.target.keeps_float


class ExportRequest(Frozen):
    """All that `export_bundles` needs to know. `checked` validates what types cannot.

    `weights` None means what `care_mobile.models.catalog.default_weights` says of each model;
    `precisions` () the default one of each target. A field that is given and would do nothing is
    an error.
    """

    models: tuple[str, ...] = ("care_s0",)
    targets: tuple[str, ...] = ("all",)
    resolutions: tuple[Resolution, ...] = (DEFAULT_RESOLUTION,)
    weights: str | None = None
    checkpoint_entry: str | None = None
    precisions: tuple[str, ...] = ()
    output: Path = Path("bundles")
    no_overwrite: bool = False
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
    classes: tuple[str, ...] | None = None
    max_drop_points: float | None = Field(None, ge=0, le=100)
    min_psnr_db: float | None = Field(None, gt=0, lt=MAX_DB)

    def model_options(self) -> dict[str, int | bool]:
        """Options for the model's factory; only those the user gave."""
        given = {"num_classes": self.num_classes, "in_channels": self.in_channels}
        chosen: dict[str, int | bool] = {k: v for k, v in given.items() if v is not None}
        return chosen | ({"features_only": True} if self.features_only else {})

    def weights_for(self, model: str) -> str:
        """Where the weights of one of the models come from."""
        return default_weights(model) if self.weights is None else self.weights

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

    def chosen_targets(self) -> list[Target]:
        """Those named; each once."""
        names = [t.name for t in registry.TARGETS] if "all" in self.targets else self.targets
        return [registry.get_target(name) for name in dict.fromkeys(names)]

    def orders(self) -> list[Order]:
        """Every precision of every chosen target that has it."""
        return [order for target in self.chosen_targets() for order in self._orders_of(target)]

    def _orders_of(self, target: Target) -> list[Order]:
        variants = {
            precision: target.variant(self.options, precision)
            for precision in registry.precisions_for(target, self.precisions)
        }
        alike = len(set(variants.values())) == 1
        return [
            Order(
                target, precision, variant, target.name if alike else f"{target.name}-{precision}"
            )
            for precision, variant in variants.items()
        ]

    def calibrates(self) -> bool:
        """Whether any order needs calibration images."""
        return any(self.needs_images(order) for order in self.orders())

    def absent(self) -> dict[str, tuple[str, ...]]:
        """By target's name, the precisions asked for that it does not have."""
        lists = {
            target.name: tuple(
                p for p in dict.fromkeys(self.precisions) if p not in target.precisions
            )
            for target in self.chosen_targets()
        }
        return {name: missing for name, missing in lists.items() if missing}

    def ranks(self) -> bool:
        """Whether somebody wants to know how much each layer suffers from integers."""
        limits = (self.min_psnr_db, self.max_drop_points)
        return bool(self.explain or self.keep_float or limits != (None, None))

    def needs_images(self, order: Order) -> bool:
        """Whether an order needs calibration images: for its file, or to rank its layers."""
        return order.calibrated or (is_quantized(order.precision) and self.ranks())

    def bundle_name(self, model: str, order: Order, resolution: Resolution) -> str:
        """`<model>-<target>-<precision>[-WxH]`."""
        size = "" if resolution == DEFAULT_RESOLUTION else f"-{resolution}"
        return f"{slug(model)}-{order.target.name}-{order.precision}{size}"

    def bundle_names(self) -> list[str]:
        """Of every bundle this makes."""
        return [
            self.bundle_name(model, order, size)
            for model, size in self.subjects()
            for order in self.orders()
        ]

    def checked(self) -> ExportRequest:
        """This request, or the first thing wrong with it.

        Raises:
            UsageError: for names that do not exist, values that cannot go together and options
                that would do nothing.
        """
        from .checks import check
        from .unused import check_used

        check(self)
        check_used(self)
        return self
