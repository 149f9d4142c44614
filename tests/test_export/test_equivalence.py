from __future__ import annotations

import pytest
import torch
from networks import Classifier, Deciding, lively, tiny_care
from torch import Tensor, nn

from care_mobile.errors import ModelError
from care_mobile.export.equivalence import TOLERANCE, reparameterize
from care_mobile.export.reparam import DEFAULT, OPTIONAL, NetworkEditor, Pass, further, select
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


def _break_a_block(network: NetworkEditor) -> None:
    """Changes a weight inside a block: what a wrong fold would do."""
    for node, conv in network.calls(nn.Conv2d):
        if conv.groups > 1 and network.claim(node):
            conv.weight.mul_(1.001)
            return


def test_a_pass_that_changes_results_is_left_out_and_says_so() -> None:
    broken = Pass("broken", "multiplies a weight", _break_a_block)
    model = lively(tiny_care()).float()
    proven = reparameterize(model, [broken, *DEFAULT], preprocessing(64, 64), lively=True)
    report = proven.passes[0]
    assert report.places == 0
    assert report.left[0].unproven and "its proof failed" in report.left[0].reason
    assert "float64" in report.left[0].reason
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(proven.model(x), model(x), rtol=0, atol=1e-4)
    assert proven.passes[2].places == 1  # the export goes on


def _wrong_at(names: set[str]) -> Pass:
    """Doubles and halves weights at every convolution, but forgets to halve at some."""

    def rewrite(network: NetworkEditor) -> None:
        for node, conv in network.calls(nn.Conv2d):
            if network.claim(node):
                conv.weight.mul_(2.0)
                if conv.bias is not None:
                    conv.bias.mul_(2.0)
                if node.target not in names:
                    with network.graph.inserting_after(node):
                        half = network.graph.call_function(torch.mul, (node, 0.5))
                    node.replace_all_uses_with(half)
                    half.args = (node, 0.5)

    return Pass("wrong-at-some", "", rewrite)


@pytest.mark.parametrize("wrong", [{"stem.0"}, {"stages.1.blocks.0.inter_layer.inter1_fc1"}, set()])
def test_only_the_places_that_fail_are_left_alone(wrong: set[str]) -> None:
    model = lively(tiny_care()).float()
    proven = reparameterize(model, [_wrong_at(wrong)], preprocessing(64, 64), lively=True)
    report = proven.passes[0]
    convs = sum(isinstance(m, nn.Conv2d) for m in model.modules())
    assert {left.place for left in report.left} == wrong
    assert report.places == convs - len(wrong)
    assert all(left.unproven for left in report.left)
    assert report.relative_error <= TOLERANCE


def test_a_pass_that_raises_is_left_alone_where_it_does() -> None:
    def rewrite(network: NetworkEditor) -> None:
        for node, conv in network.calls(nn.Conv2d):
            if network.claim(node) and conv.kernel_size == (7, 7):
                raise AssertionError("a form it does not know")

    model = lively(tiny_care()).float()
    proven = reparameterize(
        model, [Pass("raises", "", rewrite)], preprocessing(64, 64), lively=True
    )
    left = proven.passes[0].left
    assert left and all("a form it does not know" in place.reason for place in left)
    assert all(place.place.endswith("dwconv2") for place in left)
    assert proven.passes[0].places > 0


def test_fresh_weights_cannot_hide_a_broken_pass() -> None:
    """Layer scales of zero silence every block; the second proof on lively weights speaks."""
    model = tiny_care().eval()
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            nn.init.zeros_(parameter)
    # Break the first depthwise convolution only: it lies in a silenced block.
    broken = Pass("broken", "multiplies a weight", _break_a_block)
    with_second = reparameterize(model, [broken], preprocessing(64, 64), lively=False)
    assert with_second.passes[0].places == 0 and with_second.passes[0].left[0].unproven
    assert reparameterize(model, [broken], preprocessing(64, 64), lively=True).passes[0].places == 1


def test_nan_is_no_agreement() -> None:
    def poison(network: NetworkEditor) -> None:
        node, conv = next(iter(network.calls(nn.Conv2d)))
        if network.claim(node):
            conv.weight.fill_(float("nan"))

    model = lively(tiny_care()).float()
    proven = reparameterize(model, [Pass("nan", "", poison)], preprocessing(64, 64), lively=True)
    assert proven.passes[0].places == 0 and proven.passes[0].left[0].unproven


def test_passes_work_on_other_networks() -> None:
    model = lively(Classifier()).float()
    proven = reparameterize(model, DEFAULT, preprocessing(32, 48), lively=True)
    assert {r.name: r.places for r in proven.passes}["batch-norm-into-previous-conv"] == 2
    assert not any(isinstance(m, nn.BatchNorm2d) for m in proven.model.modules())


class _ByShape(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[..., :-1] if x.shape[-1] > x.shape[-2] - 1 else -x


def test_code_that_decides_on_values_is_refused_with_its_place() -> None:
    with pytest.raises(
        ModelError, match=r"decides on the value of a tensor \(networks.py:\d+: return"
    ):
        reparameterize(lively(Deciding()).float(), [], preprocessing(16, 16), lively=True)


def test_code_that_decides_on_shapes_is_followed() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), _ByShape())
    proven = reparameterize(lively(network).float(), DEFAULT, preprocessing(16, 16), lively=True)
    assert not proven.opaque
    assert {r.name: r.places for r in proven.passes}["batch-norm-into-previous-conv"] == 1


def test_a_network_that_does_not_take_the_input() -> None:
    with pytest.raises(ModelError, match="fails on an input"):
        reparameterize(nn.Sequential(nn.Conv2d(5, 4, 1)), [], preprocessing(8, 8), lively=True)


def test_pass_selection() -> None:
    names = [p.name for p in DEFAULT]
    assert [p.name for p in select()] == names
    assert [p.name for p in select(skipped=["all"])] == []
    assert [p.name for p in select(["merge-local-branches"], ["all"])] == ["merge-local-branches"]
    assert [p.name for p in select(skipped=names[1:])] == names[:1]
