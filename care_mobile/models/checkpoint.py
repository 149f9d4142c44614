"""Weights from files, as data: nothing in a checkpoint is ever executed."""

from __future__ import annotations

import argparse
import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..bundle import Weights, file_sha256
from ..errors import CareError, CheckpointError, ModelError, UsageError, first_line
from ..inputs import IMAGENET_MEAN, Preprocessing, Resolution
from ..requirements import load
from .catalog import AS_BUILT, CARE_MODELS, create_model
from .lively import draw, examples

WRAPPERS = ("state_dict_ema", "state_dict", "model")
"""Keys under which trainers keep a state dict. Averaged weights come first: the published
accuracy is theirs."""
_PREFIX = "module."  # added by DistributedDataParallel
_SHOWN = 4
_SEED_DIGITS = len(str(2**63))
_RANDOM = "random:"
_PLAIN_PROTOCOL = 3
"""Newest pickle protocol that PyTorch's reader of plain data understands."""

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A state dict, the key it was under, and the keys of all state dicts in its file."""

    state: dict[str, Tensor]
    entry: str | None
    entries: tuple[str, ...]


def load_weights(
    model: nn.Module,
    source: str,
    entry: str | None = None,
    preprocessing: Preprocessing | None = None,
) -> Weights:
    """Fill `model` from `source`, strictly.

    Args:
        model: changed in place.
        source: `random:SEED` for lively random weights (see `lively`), else a file: `.pth`,
            `.pth.tar`, `.pt`, `.safetensors`, bare or wrapped. `as-built` keeps the weights that
            a factory of yours has loaded itself.
        entry: the wrapper's key to use when the file holds several state dicts.
        preprocessing: of the images that random weights are settled on; the network's usual ones
            at 224 x 224 if None. Other images settle other weights.

    Raises:
        CheckpointError: for a file that is missing, damaged, hostile or for another network.
        ModelError: if the network fails on these images, or has weights without a shape.
        UsageError: for a malformed `random:SEED`.
    """
    _check_built(model)
    if source == AS_BUILT:
        return Weights(source=AS_BUILT, random=False, sha256=_state_sha256(model))
    if source.startswith(_RANDOM):
        return _random(model, source, preprocessing or _usual(model))
    path = Path(source)
    found = read_checkpoint(path, entry)
    state: State = found.state
    features_only = getattr(model, "features_only", False)
    if features_only:
        state = {k: v for k, v in state.items() if not k.startswith(("head.", "dist_head."))}
    check_fits(model, state, path)
    model.load_state_dict(dict(state))
    return Weights(
        source=path.name,
        random=False,
        sha256=file_sha256(path),
        entry=found.entry,
        entries=found.entries if len(found.entries) > 1 else (),
    )


def _check_built(model: nn.Module) -> None:
    """Lazy modules get their weights' shapes on first use, which is not ours to make."""
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(value):
            raise ModelError(
                f"the network is not built to the end: {name} has no shape yet",
                "in your factory, run the network once on an image, such as torch.zeros(1, 3, "
                "224, 224), before you return it",
            )


def _random(model: nn.Module, source: str, preprocessing: Preprocessing) -> Weights:
    seed = source.removeprefix(_RANDOM)
    if not seed.isdecimal() or len(seed) > _SEED_DIGITS or int(seed) >= 2**63:
        raise UsageError(
            f"weights {source[:40]!r}: the seed is no whole number from 0 to 2^63 - 1",
            "write random:0",
        )
    try:
        draw(model, int(seed), examples(preprocessing))
    except CareError:
        raise
    except Exception as error:  # whatever a user's network raises
        first = first_line(error)
        raise ModelError(
            f"the network fails on an input of {preprocessing.channels} channels and "
            f"{preprocessing.resolution} px (photos): {first}",
            "check --resolution, --in-channels, and --mean and --std, which say what it eats",
        ) from error
    return Weights(source=source, random=True, sha256=_state_sha256(model))


def _usual(model: nn.Module) -> Preprocessing:
    """224 x 224, with as many channels as the first convolution takes."""
    size = Resolution(width=224, height=224)
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if first is None or first.in_channels == len(IMAGENET_MEAN):
        return Preprocessing(resolution=size)
    count = first.in_channels
    return Preprocessing(resolution=size, mean=(0.5,) * count, std=(0.5,) * count)


def _state_sha256(model: nn.Module) -> str:
    """Hex digest of all parameters and buffers with their names."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        if isinstance(value, Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            plain = value.detach().cpu().contiguous()
            digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_state_dict(path: Path, entry: str | None = None) -> tuple[dict[str, Tensor], str | None]:
    """The state dict in a file, unwrapped and without `module.`, and the key it was under.

    Raises:
        CheckpointError: if there is none.
    """
    found = read_checkpoint(path, entry)
    return found.state, found.entry


def read_checkpoint(path: Path, entry: str | None = None) -> Checkpoint:
    """The same, and the keys of the other state dicts in the file.

    Raises:
        CheckpointError: if there is none.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise CheckpointError(f"checkpoint {path} {what}", "name a file, or use random:SEED")
    if path.stat().st_size == 0:
        raise CheckpointError(f"checkpoint {path} is empty", "copy or download it again")
    content = _safetensors(path) if path.suffix == ".safetensors" else _torch_file(path)
    state, used = _unwrap(content, path, entry)
    if all(key.startswith(_PREFIX) for key in state):
        state = {key.removeprefix(_PREFIX): value for key, value in state.items()}
    for key, value in state.items():
        if not _is_plain(value):
            raise CheckpointError(
                f"checkpoint {path}: {key} is no plain tensor", "save dense real tensors"
            )
        # Eight-bit floats have no isfinite of their own.
        if value.is_floating_point() and not torch.isfinite(value.float()).all():
            raise CheckpointError(
                f"checkpoint {path}: {key} holds NaN or infinity", "use a checkpoint from earlier"
            )
    return Checkpoint(state, used, _entries(content))


def _entries(content: object) -> tuple[str, ...]:
    if not isinstance(content, Mapping):
        return ()
    return tuple(str(key) for key, value in content.items() if _as_state(value))


def _is_plain(value: Tensor) -> bool:
    special = value.is_quantized or value.is_nested or value.is_meta or value.is_complex()
    return value.layout is torch.strided and not special


def _safetensors(path: Path) -> object:
    errors: Any = load("safetensors", "export")
    reader: Any = load("safetensors.torch", "export")
    try:
        content: object = reader.load_file(path)
        return content
    except (errors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {path} is no safetensors file or is damaged: {error}",
            "copy or download it again",
        ) from error


def _torch_file(path: Path) -> object:
    # Trainers store their command line, an argparse.Namespace: plain attributes, no code.
    with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on pickle protocols and TorchScript
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise _refused(path, error) from error
        except Exception as error:  # zip, tar, struct and value errors of damaged files
            raise _damaged(path) from error


def _refused(path: Path, error: Exception) -> CheckpointError:
    text = str(error)
    if "Unsupported global" in text or "Unsupported class" in text or "GLOBAL" in text:
        detail = next((line for line in text.splitlines() if "GLOBAL" in line), "").strip()
        name = detail.partition("GLOBAL ")[2].split(" ")[0]
        return CheckpointError(
            f"checkpoint {path} wants to run code ({name or 'an unknown object'}); refused",
            "ask for the plain state dict, or a .safetensors file",
        )
    protocol = _pickle_protocol(path)
    if protocol > _PLAIN_PROTOCOL:
        return CheckpointError(
            f"checkpoint {path} is a pickle of protocol {protocol}, which could run code; refused",
            "save it with torch.save and its own protocol, or as .safetensors",
        )
    return _damaged(path)


def _damaged(path: Path) -> CheckpointError:
    with path.open("rb") as stream:
        is_zip = stream.read(4) == b"PK\x03\x04"
    # A zip archive ends with its index.
    truncated = is_zip and not _has_index(path)
    what = "is truncated" if truncated else "is damaged or no PyTorch file"
    return CheckpointError(f"checkpoint {path} {what}", "copy or download it again")


def _has_index(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # one that claims to continue on another disk
        return True


def _pickle_protocol(path: Path) -> int:
    """The protocol a pickle declares, bare or in PyTorch's archive; 0 for anything else."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
                start = archive.open(name).read(2)
        else:
            with path.open("rb") as stream:
                start = stream.read(2)
    except Exception:  # a damaged archive fails in many ways
        return 0
    known = len(start) == 2 and start[:1] == b"\x80" and start[1] <= pickle.HIGHEST_PROTOCOL
    return start[1] if known else 0


def _unwrap(content: object, path: Path, entry: str | None) -> tuple[dict[str, Tensor], str | None]:
    if entry is not None:
        if not isinstance(content, Mapping) or entry not in content:
            keys = [str(k) for k in content][:8] if isinstance(content, Mapping) else []
            raise CheckpointError(f"checkpoint {path} has no entry {entry!r}", f"it has {keys}")
        candidates: tuple[str, ...] = (entry,)
    else:
        candidates = WRAPPERS
    if isinstance(content, Mapping):
        for key in candidates:
            state = _as_state(content.get(key))
            if state:
                return state, key
    state = _as_state(content)
    if not state or entry is not None:
        others = _entries(content)
        raise CheckpointError(
            f"checkpoint {path} holds no state dict"
            + (f" under {' or '.join(candidates)}" if others else ""),
            f"--checkpoint-key {' or '.join(others)}"
            if others
            else f"expected tensors by name, bare or under one of {', '.join(WRAPPERS)}",
        )
    return state, None


def _as_state(value: object) -> dict[str, Tensor] | None:
    """`value` if it maps names to tensors and nothing else."""
    if not isinstance(value, Mapping) or not value:
        return None
    if all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items()):
        return dict(value)
    return None


def check_fits(model: nn.Module, state: State, path: Path) -> None:
    """Raise a CheckpointError that says which keys differ and what would help."""
    want = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    have = {key: tuple(value.shape) for key, value in state.items()}
    if want == have:
        return
    problems = (
        [f"missing {key}" for key in want if key not in have]
        + [f"unexpected {key}" for key in have if key not in want]
        + [
            f"{key} is {list(have[key])}, not {list(want[key])}"
            for key in want
            if key in have and have[key] != want[key]
        ]
    )
    shown = "; ".join(problems[:_SHOWN])
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    raise CheckpointError(f"checkpoint {path} does not fit the model: {shown}{more}", _advice(have))


def _advice(have: Mapping[str, tuple[int, ...]]) -> str:
    """Options under which a CARE model would have these shapes, if any."""
    stem, classifier = have.get("stem.0.weight"), have.get("head.fc.weight")
    if stem is None or len(stem) != 4 or (classifier is not None and len(classifier) != 2):
        return "choose the --model it was trained with"
    options = {"in_channels": stem[1]}
    if classifier is not None:
        options["num_classes"] = classifier[0]
    for name in CARE_MODELS:
        with torch.device("meta"):
            shapes = {
                k: tuple(v.shape) for k, v in create_model(name, **options).state_dict().items()
            }
        if classifier is None:
            shapes = {k: s for k, s in shapes.items() if not k.startswith(("head.", "dist_head."))}
        if shapes == have:
            flags = "".join(f" --{k.replace('_', '-')} {v}" for k, v in options.items())
            return f"--model {name}{flags}" + ("" if classifier else " --features-only")
    return "choose the --model it was trained with"
