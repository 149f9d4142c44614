"""From what is to be measured to a plan: cells, their files, rounds and all orders.

The same request and seed give the same plan, but for the session's name.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from care_mobile.answers import tensor_bytes
from care_mobile.bundle import MANIFEST, Bundle, TensorSpec
from care_mobile.frozen import MAX_NAME
from care_mobile.runtimes.noise import seeded_inputs
from care_mobile.text import as_line

from .presets import Settings
from .protocol.plan import (
    BundleFacts,
    Cell,
    FileRef,
    Plan,
    Probe,
    ProbeTensor,
    Role,
    Round,
    TensorInfo,
    Unit,
)

SHARED_POOLS = frozenset(("executorch", "torch-eager", "torch-compiled"))
"""Engines with one thread pool for the whole process, which is sized once."""


@dataclass(frozen=True)
class CellRequest:
    """One cell that somebody wants. The same bundle may be asked for more than once."""

    path: Path
    bundle: Bundle
    engine: str
    unit: Unit = Unit.CPU
    threads: int = 1
    cores: tuple[int, ...] | None = None
    role: Role = Role.NONE


@dataclass(frozen=True)
class Planned:
    """`files` says where each of the plan's files lies here; `requests` go with its cells."""

    plan: Plan
    files: dict[str, Path]
    requests: tuple[CellRequest, ...]


def make_plan(
    requests: Sequence[CellRequest],
    settings: Settings,
    *,
    session: str,
    created: str,
    seed: int,
    scratch: Path,
) -> Planned:
    """The plan of a session.

    Args:
        scratch: a folder for the inputs of bundles that carry no probes.
    """
    files = _Files(scratch)
    labels = _labels(requests)
    cells = tuple(_cell(i, request, labels[i], files) for i, request in enumerate(requests))
    plan = Plan(
        session=session,
        created=created,
        preset=settings.preset,
        seed=seed,
        cells=cells,
        rounds=_rounds(requests, settings, seed),
        files=tuple(files.references),
        warmup=settings.warmup,
        burst=settings.burst,
        paced=settings.paced,
        sustained=settings.sustained,
        gate=settings.gate,
    )
    return Planned(plan, files.here, tuple(requests))


class _Files:
    """What has to be there, each path once."""

    def __init__(self, scratch: Path) -> None:
        self.here: dict[str, Path] = {}
        self.references: list[FileRef] = []
        self.scratch = scratch

    def add(self, path: str, source: Path, sha256: str, size_bytes: int) -> None:
        if path not in self.here:
            self.here[path] = source
            self.references.append(FileRef(path=path, sha256=sha256, size_bytes=size_bytes))


def _cell(index: int, request: CellRequest, label: str, files: _Files) -> Cell:
    bundle, manifest = request.bundle, request.bundle.manifest
    # A path of its own for every cell: two copies of a bundle share no caches and no mappings.
    folder = f"bundles/{index}-{manifest.content_sha256[:12]}"
    for name, entry in manifest.files.items():
        files.add(f"{folder}/{name}", bundle.path / name, entry.sha256, entry.size_bytes)
    written = (bundle.path / MANIFEST).read_bytes()
    files.add(
        f"{folder}/{MANIFEST}",
        bundle.path / MANIFEST,
        hashlib.sha256(written).hexdigest(),
        len(written),
    )
    return Cell(
        id=f"c{index}",
        label=label,
        role=request.role,
        bundle=facts_of(bundle),
        engine=request.engine,
        folder=folder,
        model=f"{folder}/{manifest.model_file}",
        inputs=tuple(_tensor(spec) for spec in manifest.inputs),
        outputs=tuple(_tensor(spec) for spec in manifest.arrays),
        probes=_probes(bundle, folder) or (_noise(bundle, files),),
        unit=request.unit,
        threads=request.threads,
        cores=request.cores,
    )


def facts_of(bundle: Bundle) -> BundleFacts:
    """What a record says of a bundle."""
    manifest = bundle.manifest
    return BundleFacts(
        name=as_line(bundle.name)[:MAX_NAME],
        content_sha256=manifest.content_sha256,
        model=manifest.model,
        target=manifest.target,
        precision=manifest.precision,
        resolution=str(manifest.preprocessing.resolution),
        weights_source=as_line(manifest.weights.source)[:MAX_NAME],
        random_weights=manifest.weights.random,
        size_bytes=bundle.size_bytes,
    )


def _tensor(spec: TensorSpec) -> TensorInfo:
    shape = tuple(1 if side is None else side for side in spec.shape)
    kind = "tensor" if spec.kind == "string" else spec.kind
    return TensorInfo(name=spec.name, dtype=spec.dtype, shape=shape, kind=kind)


def _probes(bundle: Bundle, folder: str) -> tuple[Probe, ...]:
    return tuple(
        Probe(
            name=probe.name,
            inputs=tuple(
                ProbeTensor(
                    name=tensor.name,
                    dtype=tensor.dtype,
                    shape=tensor.shape,
                    path=f"{folder}/{tensor.file}",
                )
                for tensor in probe.inputs
            ),
        )
        for probe in bundle.manifest.probes
    )


def _noise(bundle: Bundle, files: _Files) -> Probe:
    """Inputs for a bundle that carries none; its answers cannot be judged."""
    tensors = []
    for name, array in seeded_inputs(bundle, seed=0).items():
        content = tensor_bytes(array)
        sha256 = hashlib.sha256(content).hexdigest()
        source = files.scratch / f"{sha256}.bin"
        source.write_bytes(content)
        path = f"probes/{sha256[:16]}.bin"
        files.add(path, source, sha256, len(content))
        tensors.append(ProbeTensor(name=name, dtype=array.dtype.name, shape=array.shape, path=path))
    return Probe(name="noise", inputs=tuple(tensors), judged=False)


def _labels(requests: Sequence[CellRequest]) -> list[str]:
    """Names; with what tells cells apart where a bundle is measured in several ways, and numbered
    where nothing does."""
    names = Counter(request.path.resolve().name for request in requests)
    paths = {r.path.resolve().name: set[Path]() for r in requests}
    for request in requests:
        paths[request.path.resolve().name].add(request.path.resolve())
    labels = []
    for request in requests:
        name = request.bundle.name
        if len(paths[request.path.resolve().name]) > 1:
            name = str(request.path)
        if names[request.path.resolve().name] > 1:
            name = " ".join((name, *_distinct(request, requests)))
        labels.append(as_line(name)[:200])
    seen: Counter[str] = Counter()
    totals = Counter(labels)
    numbered = []
    for label in labels:
        seen[label] += 1
        numbered.append(f"{label} ({seen[label]})" if totals[label] > 1 else label)
    return numbered


def _distinct(request: CellRequest, requests: Sequence[CellRequest]) -> list[str]:
    told = []
    if len({r.engine for r in requests if r.path == request.path}) > 1:
        told.append(request.engine)
    if len({r.unit for r in requests if r.path == request.path}) > 1:
        told.append(request.unit.value)
    if len({r.threads for r in requests if r.path == request.path}) > 1:
        told.append(f"{request.threads} thread{'s' * (request.threads != 1)}")
    return told


def process_groups(requests: Sequence[CellRequest]) -> list[list[int]]:
    """Cells that can share a process: thread pools of a whole process have one size each."""
    sizes = sorted({r.threads for r in requests if r.engine in SHARED_POOLS})
    if len(sizes) < 2:
        return [list(range(len(requests)))]
    return [
        [
            index
            for index, request in enumerate(requests)
            if request.threads == size
            or (place == 0 and request.engine not in SHARED_POOLS and request.threads not in sizes)
        ]
        for place, size in enumerate(sizes)
    ]


def _rounds(requests: Sequence[CellRequest], settings: Settings, seed: int) -> tuple[Round, ...]:
    groups = process_groups(requests)
    loads = [balanced_order(len(group), settings.rounds, seed + 1) for group in groups]
    count = settings.rounds * settings.blocks
    rows = [balanced_order(len(group), count, seed) for group in groups]
    rounds: list[Round] = []
    for replicate in range(settings.rounds):
        turns = list(enumerate(groups))
        for place, group in turns[:: -1 if replicate % 2 else 1]:
            mine = rows[place][replicate * settings.blocks : (replicate + 1) * settings.blocks]
            rounds.append(
                Round(
                    number=len(rounds),
                    replicate=replicate,
                    load=settings.load(replicate),
                    cells=tuple(group[i] for i in loads[place][replicate]),
                    blocks=tuple(tuple(group[i] for i in row) for row in mine),
                    phases=settings.phases(replicate),
                )
            )
    return tuple(rounds)


def balanced_order(count: int, blocks: int, seed: int) -> tuple[tuple[int, ...], ...]:
    """`blocks` permutations of `range(count)`, shuffled but balanced.

    Each cell takes each place in a block equally often, or once more or less. Rows come from
    Williams designs, where also each cell follows each other one equally often, because a burst
    may feel what ran before it: one Latin square for even counts, a square and its mirror image
    for odd ones. Labels and rows are shuffled anew for every square.
    """
    rng = random.Random(seed)  # noqa: S311 - an order, not a secret
    zigzag = [(i + 1) // 2 if i % 2 else (count - i // 2) % count for i in range(count)]
    rows: list[tuple[int, ...]] = []
    labels = list(range(count))
    mirrored = False
    while len(rows) < blocks:
        if not mirrored:
            rng.shuffle(labels)
        shifts = rng.sample(range(count), count)
        square = [tuple(labels[(z + shift) % count] for z in zigzag) for shift in shifts]
        rows += [row[::-1] for row in square] if mirrored else square
        mirrored = count % 2 == 1 and not mirrored
    return tuple(rows[:blocks])
