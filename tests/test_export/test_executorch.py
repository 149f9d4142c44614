"""The ExecuTorch target: what XNNPACK takes of networks that are not ours, and the budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from networks import lively, tiny_care
from torch import Tensor, nn
from torch.nn import functional as F

from care_mobile.bundle import Census, TensorSpec
from care_mobile.errors import DelegationError
from care_mobile.export.capture import output_specs
from care_mobile.export.request import ExportRequest
from care_mobile.export.targets import Lowered, LowerJob, Options, Variant, get_target
from care_mobile.inputs import Resolution

from .commands import run


class Foreign(nn.Module):
    """Every pattern that the partitioner refuses, in another network than CARE."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, stride=4)
        self.large = nn.Conv2d(16, 16, 9, padding=4, groups=16)
        self.scale = nn.Parameter(torch.rand(16))
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.scale[:, None, None] * self.large(x) + x / 2
        tokens = self.norm(x.flatten(2).transpose(1, 2)).reshape(1, -1, 2, 8).transpose(1, 2)
        q, k = (F.elu(t) + 1 for t in (tokens, -tokens))
        total = torch.reciprocal((q * k.mean(-2, keepdim=True)).mean(-1, keepdim=True) + 1e-3)
        out = (q @ (k.transpose(-1, -2) @ tokens)) * total.expand(-1, -1, -1, 8)
        first, second = out.transpose(1, 2).flatten(2).mean(1).chunk(2, dim=-1)
        return self.head(torch.cat((second, first), -1))


class Left(nn.Module):
    """Operations that no rewrite brings in."""

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(torch.cumsum(F.elu(x), 1)) + x.amax((2, 3), keepdim=True)


def lowered(network: nn.Module, folder: Path, x: Tensor, **options: int) -> Lowered:
    program = torch.export.export(network.eval(), (x,))
    image = TensorSpec(name="image", shape=tuple(x.shape))
    job = LowerJob(
        model="network",
        precision="fp32",
        inputs=(image,),
        outputs=output_specs(program, Variant()),
        preprocessing=ExportRequest().preprocessing(Resolution(width=32, height=32)),
        weights="",
        options=Options(**options),  # type: ignore[arg-type]
    )
    return get_target("executorch").lower(program, job, folder)


@pytest.mark.parametrize(
    "which", ["foreign", pytest.param("care as published", marks=pytest.mark.slow)]
)
def test_one_partition_and_nothing_outside(which: str, tmp_path: Path) -> None:
    from executorch.runtime import Runtime

    network = lively(Foreign() if which == "foreign" else tiny_care()).float()
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = lowered(network, tmp_path, x, max_partitions=1, max_fallback_ops=0)
    census = found.census
    assert (census.partitions, census.fallback, census.fallback_reasons) == (1, 0, {})
    if which == "foreign":
        unused = {name for name, places in found.rewrites.items() if not places}
        assert unused == {"memory-formats-left-out", "adaptive-averages", "adaptive-maxima"}
    program = Runtime.get().load_program(tmp_path / found.model_file)
    (result,) = program.load_method("forward").execute([x])
    torch.testing.assert_close(result, network(x), rtol=1e-4, atol=1e-4)


def test_what_stays_outside_says_why(tmp_path: Path) -> None:
    x = torch.randn(1, 4, 8, 8)
    census = lowered(Left(), tmp_path, x).census
    assert census.fallback == len(census.fallback_reasons) == 4
    assert census.fallback_by_type == {
        "aten_elu_default": 2,
        "aten_cumsum_default": 1,
        "aten_amax_default": 1,
    }
    assert set(census.fallback_reasons.values()) == {
        "XNNPACK's partitioner has no rule for this operator"
    }


def test_over_budget_names_operations_and_reasons(tmp_path: Path) -> None:
    x = torch.randn(1, 4, 8, 8)
    with pytest.raises(DelegationError) as caught:
        lowered(Left(), tmp_path, x, max_fallback_ops=3)
    assert str(caught.value).startswith("4 fallback operations, but at most 3 allowed: 2 aten_elu")
    assert "1 aten_cumsum_default (XNNPACK's partitioner has no rule" in str(caught.value)
    assert "--max-fallback-ops" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_reason_in_the_partitioners_words(tmp_path: Path) -> None:
    class Strided(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.softmax(x, 1) + x

    census = lowered(Strided(), tmp_path, torch.randn(1, 4, 8, 8)).census
    (reason,) = census.fallback_reasons.values()
    assert reason == "dim must be the last dim, got dim = 1 for tensor of rank 4"
    assert census.why_outside() == [f"1 aten__softmax_default ({reason})"]


def test_alike_operations_are_counted_together() -> None:
    census = Census(
        total=3,
        by_type={},
        fallback_reasons={"aten_mean_dim": "rank", "aten_mean_dim_12": "rank", "aten_elu_1": "no"},
    )
    assert census.why_outside() == ["2 aten_mean_dim (rank)", "1 aten_elu (no)"]


@pytest.mark.slow
def test_no_bundle_is_kept_over_budget(tmp_path: Path) -> None:
    ended = run(
        "care-export", "-m", "networks:tiny_care", "-r", "32", "-t", "executorch",
        "--max-partitions", "0", "--json", cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 2
    (bundle,) = json.loads(ended.stdout)["bundles"]
    assert bundle["status"] == "failed"
    assert bundle["path"] is None
    assert "1 XNNPACK partitions, but at most 0 allowed" in bundle["failure"]["message"]
    assert list((tmp_path / "bundles").iterdir()) == []
