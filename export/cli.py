"""`care-export`: parse, call `export_bundles`, render."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from care_mobile.errors import UsageError, unknown_name
from care_mobile.given import given
from care_mobile.terminal import in_scratch, interrupts, run_command

if TYPE_CHECKING:
    from .request import ExportRequest

app = typer.Typer(add_completion=False, rich_markup_mode=None)

RANGES = ("normalized", "0..1", "0..255")


@app.command()
@in_scratch
def care_export(
    context: typer.Context,
    model: Annotated[
        list[str],
        typer.Option(
            "--model", "-m", help="care_s0, care_s1, care_s2 or package.module:factory; repeatable."
        ),
    ] = ["care_s0"],  # noqa: B006 - typer copies it
    target: Annotated[
        list[str],
        typer.Option("--target", "-t", help="coreml, onnx, executorch or all; repeatable."),
    ] = ["all"],  # noqa: B006
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            "-w",
            help="Checkpoint file (.pth, .pth.tar, .pt, .safetensors), random:SEED, or as-built: "
            "what your factory loaded; default: as-built for your factories, random:0 for others.",
        ),
    ] = None,
    checkpoint_key: Annotated[
        str | None,
        typer.Option(help="Entry of the checkpoint that holds the state dict."),
    ] = None,
    resolution: Annotated[
        list[str],
        typer.Option("--resolution", "-r", help="Pixels: 224 or WIDTHxHEIGHT; repeatable."),
    ] = ["224"],  # noqa: B006
    precision: Annotated[
        list[str],
        typer.Option(
            "--precision",
            "-p",
            help="fp32, fp16, int8 or another; each target makes those it has; default: fp16 for "
            "coreml, else fp32; repeatable.",
        ),
    ] = [],  # noqa: B006
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder the bundles go to.")
    ] = Path("bundles"),
    no_overwrite: Annotated[
        bool, typer.Option("--no-overwrite", help="Fail if a bundle is there already.")
    ] = False,
    num_classes: Annotated[int | None, typer.Option(min=1, help="Classes of the network.")] = None,
    in_channels: Annotated[int | None, typer.Option(min=1, help="Channels of the image.")] = None,
    features_only: Annotated[
        bool, typer.Option("--features-only", help="Export the four feature maps, no classifier.")
    ] = False,
    input_range: Annotated[
        str,
        typer.Option(
            help="Values the bundle takes: normalized, 0..1 or 0..255; "
            "the last two fold the normalisation into the stem."
        ),
    ] = "normalized",
    mean: Annotated[
        str | None, typer.Option(help="Mean per channel, for pixels in 0..1, e.g. 0.5,0.5,0.5.")
    ] = None,
    std: Annotated[str | None, typer.Option(help="Standard deviation per channel.")] = None,
    opset: Annotated[int, typer.Option(help="ONNX opset, 20 or later.")] = 20,
    dynamic_batch: Annotated[
        bool, typer.Option("--dynamic-batch", help="ONNX: leave the batch size free.")
    ] = False,
    image_input: Annotated[
        bool,
        typer.Option("--image-input", help="Core ML: take an image; implies --input-range 0..255."),
    ] = False,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="File with the name of each class, one per line, in the network's order; every "
            "bundle keeps them, and Core ML's becomes a classifier."
        ),
    ] = None,
    min_ios: Annotated[int, typer.Option(help="Core ML: oldest iOS to run on, 17 or 18.")] = 17,
    max_partitions: Annotated[
        int | None,
        typer.Option(min=0, help="ExecuTorch: fail if XNNPACK takes the network in more pieces."),
    ] = None,
    max_fallback_ops: Annotated[
        int | None,
        typer.Option(min=0, help="ExecuTorch: fail if XNNPACK leaves more operations outside."),
    ] = None,
    with_pass: Annotated[
        list[str], typer.Option(help="Also run this reparameterization; repeatable.")
    ] = [],  # noqa: B006
    skip_pass: Annotated[
        list[str], typer.Option(help="Leave this reparameterization out, or all; repeatable.")
    ] = [],  # noqa: B006
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Integer precisions: folder of images like those the network will see; "
            "default: crops of two photos."
        ),
    ] = None,
    calibration_count: Annotated[
        int, typer.Option(help="How many of them, drawn by --seed, 1 to 4096.")
    ] = 64,
    keep_float: Annotated[
        int,
        typer.Option(
            min=0,
            help="Integer precisions: leave the N most sensitive layers in float; "
            "fp16: the N operations it costs most in fp32.",
        ),
    ] = 0,
    min_psnr: Annotated[
        float | None,
        typer.Option(
            help="Integer precisions and fp16: leave as much in float as this PSNR in dB needs."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder with one folder of images per class: measures the accuracy of every "
            "bundle and of the network itself."
        ),
    ] = None,
    data_limit: Annotated[
        int | None, typer.Option(min=1, help="Only so many of them, drawn by --seed.")
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(
            help="File with the folder name of each of the network's classes, one per line, in "
            "its order; by default the labels are the folders' names, without labels the "
            "folders, sorted by name, are the classes."
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            help="Integer precisions and fp16: leave as much in float as keeps the top-1 accuracy "
            "on --data within so many points of the network's."
        ),
    ] = None,
    keep_failed: Annotated[
        bool, typer.Option("--keep-failed", help="Keep bundles that fail parity.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the probe inputs.")] = 0,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Print what each pass and rewrite did and left alone, why operations stay "
            "outside XNNPACK and, in fp16, which operations cost the most accuracy.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON on standard output.")
    ] = False,
) -> None:
    """Export a network to Core ML, ONNX and ExecuTorch bundles, and prove what was done to it."""
    raise typer.Exit(_run(_request(given(context)), as_json))


_FIELDS = {
    "model": "models",
    "target": "targets",
    "resolution": "resolutions",
    "precision": "precisions",
    "checkpoint_key": "checkpoint_entry",
    "with_pass": "with_passes",
    "skip_pass": "skip_passes",
    "min_psnr": "min_psnr_db",
    "max_drop": "max_drop_points",
}
"""Where the request calls a parameter by another name."""


def _request(given: dict[str, Any]) -> ExportRequest:
    """The request that says what the command line says, and no more.

    Raises:
        UsageError: for a value out of its range.
    """
    from pydantic import ValidationError

    from .request import ExportRequest
    from .targets import Options
    from .unused import flag

    given = {_FIELDS.get(name, name): value for name, value in given.items() if name != "as_json"}
    if "resolutions" in given:
        given["resolutions"] = _resolutions(given["resolutions"])
    for name in ("mean", "std"):
        if name in given:
            given[name] = _numbers(flag(name), given[name])
    if "labels" in given:
        given["labels"] = _labels(given["labels"])
    if "classes" in given:
        given["classes"] = _classes(given["classes"])
    if given.get("image_input"):
        given.setdefault("input_range", "0..255")
    if given.get("input_range", RANGES[0]) not in RANGES:
        raise unknown_name("input range", given["input_range"], RANGES)
    options = {name: given.pop(name) for name in Options.model_fields if name in given}
    try:
        return ExportRequest(options=Options(**options), **given)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"{flag(str(first['loc'][0]))} {first['input']}: {first['msg']}", "care-export --help"
        ) from error


def _run(request: ExportRequest, as_json: bool) -> int:
    from . import render

    request = request.checked()  # before the seconds that loading torch takes
    with interrupts() as check_interrupt, render.progress() as show:
        from .pipeline import export_bundles

        def on_step(subject: str, step: str) -> None:
            check_interrupt()
            show(subject, step)

        report = export_bundles(request, on_step)
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
    else:
        render.summary(report, request.explain)
    return report.exit_code


def _resolutions(texts: list[str]) -> Any:
    from care_mobile.inputs import Resolution

    return tuple(Resolution.parse(text) for text in texts)


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option} {text!r} is no list of numbers", "write 0.5,0.5,0.5") from None


def _labels(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    from care_mobile.evaluation.names import read_names

    return read_names(path, "--labels")


def _classes(path: Path | None) -> tuple[str, ...] | None:
    from care_mobile.evaluation.classes import read_classes

    return None if path is None else read_classes(path)


def main() -> None:
    """Entry point of `care-export`."""
    run_command(app)
