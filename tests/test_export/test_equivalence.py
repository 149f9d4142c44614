from __future__ import annotations

import pytest
import torch
from networks import Classifier, Deciding, lively, tiny_care
from torch import nn

from care_mobile.errors import EquivalenceError, ModelError
from care_mobile.export.equivalence import TOLERANCE, reparameterize
from care_mobile.export.reparam import DEFAULT, OPTIONAL, Network, Pass, further, select, trace
from care_mobile.export.targets.coreml_variants import CHOSEN, VARIANTS
from care_mobile.inputs import InputRange, Preprocessing, Resolution
from care_mobile.models.care import LinearAttention
from care_mobile.models.catalog import create_model
from care_mobile.models.checkpoint import load_weights


def preprocessing(width: int, height: int, **options: object) -> Preprocessing:
    return Preprocessing(resolution=Resolution(width=width, height=height), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["care_s0", "care_s1", "care_s2"])
@pytest.mark.parametrize("size", [(224, 224), (96, 160)])
def test_every_default_pass_is_exact_on_care(name: str, size: tuple[int, int]) -> None:
    model = create_model(name).eval()
    load_weights(model, "random:1")
    proven = reparameterize(model, DEFAULT, preprocessing(*size), lively=True)
    changed = {report.name: report.places for report in proven.passes}
    blocks = sum(len(stage.blocks) for stage in model.stages)
    attentions = sum(isinstance(m, LinearAttention) for m in model.modules())
    assert changed == {
        "input-normalization-into-stem": 0,
        "batch-norm-into-previous-conv": 1,
        "batch-norm-into-next-conv": 2 * blocks + 3,
        "layer-scale-into-conv": blocks - 1,
        "depthwise-bias-into-pointwise": 2 * blocks - 1,
        "merge-classifier-heads": 1,
        "channel-first-attention": attentions,
    }
    assert all(0 <= report.relative_error <= TOLERANCE for report in proven.passes)
    kinds = [type(module) for module in proven.model.modules()]
    assert kinds.count(nn.BatchNorm2d) == kinds.count(LinearAttention) == 0
    assert kinds.count(nn.Linear) == kinds.count(nn.LayerNorm) == 1
    assert proven.passes[-1].operations_after < 0.7 * proven.passes[0].operations_before
    assert next(proven.model.parameters()).dtype == torch.float32


@pytest.mark.parametrize("value", list(InputRange))
def test_every_input_range_gives_the_same_logits(value: InputRange) -> None:
    model = lively(tiny_care()).float()
    about = preprocessing(64, 64, input_range=value)
    proven = reparameterize(model, DEFAULT, about, lively=True)
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    u = torch.from_numpy(about.denormalize(x.numpy()))
    with torch.no_grad():
        difference = (proven.model(u) - model(x.float())).abs().max().item()
    assert difference < 2e-5
    assert proven.passes[0].places == (value is not InputRange.NORMALIZED)


@pytest.mark.parametrize("name", ["care_s0", "care_s2"])
def test_the_passes_of_core_ml_are_exact_on_care(name: str) -> None:
    model = create_model(name).eval()
    load_weights(model, "random:2")
    shared = reparameterize(model, DEFAULT, preprocessing(96, 64), lively=True)
    proven = shared.then(further(VARIANTS[CHOSEN], DEFAULT))
    blocks = sum(len(stage.blocks) for stage in model.stages)
    attentions = sum(isinstance(m, LinearAttention) for m in model.modules())
    assert {report.name: report.places for report in proven.passes[len(DEFAULT) :]} == {
        "merge-local-branches": 2 * (blocks - attentions) + attentions,
        "project-attention-once": attentions,
        "join-memory-early": blocks,
        "carry-memory-through-depthwise": blocks - attentions,
        "closing-sum-into-conv": blocks - 1,
    }
    assert not any(report.left for report in proven.passes[len(DEFAULT) :])
    assert proven.passes[-1].operations_after < 0.7 * shared.passes[-1].operations_after


def test_further_passes_leave_the_network_they_start_from() -> None:
    model = lively(tiny_care()).float()
    shared = reparameterize(model, DEFAULT, preprocessing(64, 64), lively=True)
    x, before = torch.randn(1, 3, 64, 64), shared.model
    with torch.no_grad():
        want = before(x)
        shared.then(further(VARIANTS[CHOSEN], DEFAULT))
        assert torch.equal(shared.model(x), want)
    assert len(shared.passes) == len(DEFAULT)


def test_further_passes() -> None:
    names = [p.name for p in OPTIONAL]
    assert [p.name for p in further(reversed(names), DEFAULT)] == names
    assert [p.name for p in further(names, select(names[:2]))] == names[2:]
    assert [p.name for p in further(names, DEFAULT, names[1:])] == names[:1]
    assert further(names, DEFAULT, ["all"]) == ()


def test_merged_residuals_are_exact_and_leave_nothing_to_close() -> None:
    model = lively(tiny_care()).float()
    shared = reparameterize(
        model, select(["merge-memory-residuals"]), preprocessing(64, 96), lively=True
    )
    proven = shared.then(further(VARIANTS[CHOSEN], DEFAULT))
    assert shared.passes[-1].places == 5
    assert {r.name: r.places for r in proven.passes}["closing-sum-into-conv"] == 0


def _break_a_block(network: Network) -> None:
    """Changes a weight inside a block: what a wrong fold would do."""
    for node, conv in network.calls(nn.Conv2d):
        if conv.groups > 1:
            network.claim(node) and conv.weight.mul_(1.001)
            return


def test_a_pass_that_changes_results_is_stopped() -> None:
    broken = Pass("broken", "multiplies a weight", _break_a_block)
    with pytest.raises(EquivalenceError, match="broken changed the results") as caught:
        reparameterize(lively(tiny_care()), [broken], preprocessing(64, 64), lively=True)
    assert caught.value.exit_code == 3


def test_fresh_weights_cannot_hide_a_broken_pass() -> None:
    """Layer scales of zero silence every block; the second proof on lively weights speaks."""
    model = tiny_care().eval()
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            nn.init.zeros_(parameter)
    # Break the first depthwise convolution only: it lies in a silenced block.
    broken = Pass("broken", "multiplies a weight", _break_a_block)
    with pytest.raises(EquivalenceError):
        reparameterize(model, [broken], preprocessing(64, 64), lively=False)
    assert reparameterize(model, [broken], preprocessing(64, 64), lively=True).passes[0].places == 1


def test_nan_is_no_agreement() -> None:
    def poison(network: Network) -> None:
        next(conv for _, conv in network.calls(nn.Conv2d)).weight.fill_(float("nan"))
        network.changed()

    with pytest.raises(EquivalenceError):
        reparameterize(
            lively(tiny_care()), [Pass("nan", "", poison)], preprocessing(64, 64), lively=True
        )


def test_passes_work_on_other_networks() -> None:
    model = lively(Classifier()).float()
    proven = reparameterize(model, DEFAULT, preprocessing(32, 48), lively=True)
    assert {r.name: r.places for r in proven.passes}["batch-norm-into-previous-conv"] == 2
    assert not any(isinstance(m, nn.BatchNorm2d) for m in proven.model.modules())


def test_what_cannot_be_traced_is_kept_whole_and_named() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), Deciding())
    proven = reparameterize(lively(network).float(), DEFAULT, preprocessing(16, 16), lively=True)
    assert list(proven.opaque) == ["2"]
    assert {r.name: r.places for r in proven.passes}["batch-norm-into-previous-conv"] == 1


def test_a_root_that_cannot_be_traced() -> None:
    network = lively(Deciding())
    graph, opaque = trace(network)
    x = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    assert list(opaque) == ["network"]
    assert torch.equal(graph(x), network(x))


def test_a_network_that_does_not_take_the_input() -> None:
    with pytest.raises(ModelError, match="fails in float64"):
        reparameterize(nn.Sequential(nn.Conv2d(5, 4, 1)), [], preprocessing(8, 8), lively=True)


def test_pass_selection() -> None:
    names = [p.name for p in DEFAULT]
    assert [p.name for p in select()] == names
    assert [p.name for p in select(skipped=["all"])] == []
    assert [p.name for p in select(["merge-local-branches"], ["all"])] == ["merge-local-branches"]
    assert [p.name for p in select(skipped=names[1:])] == names[:1]
