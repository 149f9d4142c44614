from __future__ import annotations

import copy
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from care_mobile import create_model, load_weights
from care_mobile.models.care import (
    CARE,
    CARE_S0,
    Block,
    DropPath,
    Head,
    LinearAttention,
    StageConfig,
    TokenMixer,
)
from care_mobile.models.lively import draw
from care_mobile.models.macs import count_macs, count_parameters

GOLDEN_SIZES = [(224, 224), (192, 256)]
# One narrow block per kind of stage: (r1, r2) differ so that they cannot be confused.
STRIPS = StageConfig(depth=1, branch=4, memory=2, expansions=(2, 3), head_width=None)
HEADS = StageConfig(depth=1, branch=8, memory=2, expansions=(3, 2), head_width=4)


def tiny(**options: Any) -> CARE:
    """Two lively stages of two blocks, to build in no time."""
    stages = [
        StageConfig(2, s.branch, s.memory, s.expansions, s.head_width) for s in (STRIPS, HEADS)
    ]
    model = CARE(stages, num_classes=5, **options)
    draw(model, 0)
    return model


def drawn(module: nn.Module) -> nn.Module:
    draw(module, 0)
    return module.eval()


@pytest.fixture(scope="module")
def golden_s0(recipe: ModuleType) -> nn.Module:
    model = create_model("care_s0")
    state = {k: torch.from_numpy(recipe.tensor(k, v.shape)) for k, v in model.state_dict().items()}
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize(("height", "width"), GOLDEN_SIZES)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_golden_logits(
    golden_s0: nn.Module,
    golden: Path,
    recipe: ModuleType,
    height: int,
    width: int,
    dtype: torch.dtype,
    bound: float,
) -> None:
    want = np.load(golden / "care_s0.npz")[f"care_s0_{height}x{width}_logits"]
    model = golden_s0 if dtype is torch.float32 else copy.deepcopy(golden_s0).double()
    got = model(torch.from_numpy(recipe.image(height, width)).to(dtype))
    assert got.shape == want.shape
    assert np.abs(got.numpy() - want).max() < bound


def test_state_dict_keys_and_shapes_are_the_authors(golden: Path) -> None:
    want = json.loads((golden / "care_s0_keys.json").read_text())
    have = {k: list(v.shape) for k, v in create_model("care_s0").state_dict().items()}
    assert have == want


@pytest.mark.parametrize(
    ("name", "millions", "gigamacs"),
    [
        ("care_s0", "7.340", "0.718"),
        ("care_s1", "9.602", "1.029"),
        ("care_s2", "19.481", "1.923"),
    ],
)
def test_published_sizes(name: str, millions: str, gigamacs: str) -> None:
    with torch.device("meta"):
        model = create_model(name).eval()
        macs = count_macs(model, torch.zeros(1, 3, 224, 224))
    assert f"{count_parameters(model) / 1e6:.3f}" == millions
    assert f"{macs / 1e9:.3f}" == gigamacs


def test_macs_of_a_convolution_and_a_linear_layer() -> None:
    assert count_macs(nn.Conv2d(3, 8, 3, padding=1), torch.zeros(1, 3, 5, 7)) == 8 * 3 * 9 * 35
    assert count_macs(nn.Linear(6, 4), torch.zeros(2, 6)) == 2 * 6 * 4


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (95, 32), (64, 97), (127, 63)])
def test_any_size_from_32(lively_s0: nn.Module, height: int, width: int) -> None:
    logits = lively_s0(torch.randn(2, 3, height, width))
    assert logits.shape == (2, 1000)
    assert logits.isfinite().all()


@pytest.mark.parametrize(("height", "width"), [(31, 32), (64, 31), (1, 1)])
def test_smaller_inputs_are_refused(lively_s0: nn.Module, height: int, width: int) -> None:
    with pytest.raises(ValueError, match=rf"at least 32 px a side, got {width}x{height}"):
        lively_s0(torch.zeros(1, 3, height, width))


def test_classes_and_channels() -> None:
    model = create_model("care_s0", num_classes=7, in_channels=4).eval()
    assert model(torch.zeros(1, 4, 32, 32)).shape == (1, 7)


@pytest.mark.parametrize(("name", "width"), [("care_s0", 1024), ("care_s2", 1536)])
def test_features_only_has_maps_and_no_classifier(name: str, width: int) -> None:
    model = create_model(name, features_only=True).eval()
    assert not any("head" in key for key in model.state_dict())
    maps = model(torch.randn(1, 3, 96, 64))
    assert [m.shape[1] for m in maps] == model.feature_channels
    assert model.feature_channels[-1] == width
    assert [tuple(m.shape[2:]) for m in maps] == [(24, 16), (12, 8), (6, 4), (3, 2)]


def test_the_classifier_reads_the_last_feature_map(lively_s0: nn.Module) -> None:
    features = create_model("care_s0", features_only=True).eval()
    load_weights(features, "random:0")
    x = torch.randn(1, 3, 64, 64)
    last = features(x)[-1]
    want = (lively_s0.head(last) + lively_s0.dist_head(last)) / 2
    torch.testing.assert_close(lively_s0(x), want)


def test_training_returns_the_pair_and_evaluation_its_mean() -> None:
    model = tiny()
    x = torch.randn(2, 3, 32, 32)
    pair = model.train()(x)
    assert isinstance(pair, tuple)
    assert [logits.shape for logits in pair] == [(2, 5)] * 2
    # Running statistics in both modes, so that only the heads differ.
    model.eval()
    mean = model(x)
    model.training = True
    head, distilled = model(x)
    assert (head - distilled).abs().max() > 1e-3
    torch.testing.assert_close(mean, (head + distilled) / 2)


def test_head_is_the_papers() -> None:
    head = drawn(Head(6, 4, dropout=0.3))
    x = torch.randn(2, 6, 3, 5)
    mean = x.flatten(2).mean(-1)
    hidden = 0.5 * mean * (1 + torch.erf(mean / 2**0.5))
    centred = hidden - hidden.mean(-1, keepdim=True)
    normal = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()
    want = (normal * head.norm.weight + head.norm.bias) @ head.fc.weight.T + head.fc.bias
    torch.testing.assert_close(head(x), want)


def test_dropout_acts_in_training_only() -> None:
    x = torch.randn(1, 6, 2, 2)
    head = Head(6, 4, dropout=0.5)
    assert not torch.equal(*(head.train()(x.expand(64, -1, -1, -1)) for _ in range(2)))
    assert torch.equal(*(head.eval()(x) for _ in range(2)))
    assert tiny(dropout=0.25).dist_head.dropout.p == 0.25


def test_drop_path_drops_whole_samples_and_scales_the_rest() -> None:
    torch.manual_seed(0)
    x = torch.rand(4000, 3, 2, 2) + 1
    factors = (DropPath(0.25).train()(x) / x).flatten(1)
    assert (factors.amax(1) - factors.amin(1)).max() < 1e-6
    kept = factors[:, 0] > 0
    torch.testing.assert_close(factors[kept], torch.full_like(factors[kept], 1 / 0.75))
    assert (factors[~kept] == 0).all()
    assert abs(kept.float().mean() - 0.75) < 5 * (0.75 * 0.25 / 4000) ** 0.5


def test_drop_path_rests_in_evaluation() -> None:
    x = torch.randn(8, 3, 2, 2)
    assert torch.equal(DropPath(0.9).eval()(x), x)
    assert torch.equal(DropPath(0.0).train()(x), x)


def test_a_dropped_block_is_its_shortcut() -> None:
    torch.manual_seed(0)
    block = drawn(Block(STRIPS, drop_path=0.5, last=False))
    x = torch.randn(32, STRIPS.channels, 4, 4)
    branch = block(x) - x
    block.drop_path.train()
    torch.manual_seed(1)
    got = block(x) - x
    dropped = got.flatten(1).abs().amax(1) == 0
    assert 0 < dropped.sum() < 32
    torch.testing.assert_close(got[~dropped], 2 * branch[~dropped], atol=1e-5, rtol=1e-4)


def test_drop_path_rises_linearly_over_the_blocks() -> None:
    model = create_model("care_s0", drop_path=0.17)
    rates = [m.p for m in model.modules() if isinstance(m, DropPath)]
    # 18 blocks; the last has no shortcut, hence none.
    np.testing.assert_allclose(rates, [0.17 * i / 17 for i in range(17)])


def test_gradients_reach_every_parameter() -> None:
    torch.manual_seed(0)
    model = create_model("care_s0", num_classes=3)
    draw(model, 0)
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # batch statistics would cancel biases before it
            module.eval()
    head, distilled = model(torch.randn(1, 3, 64, 96))
    (head * torch.randn_like(head) + distilled * torch.randn_like(head)).sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or p.grad.norm() < 1e-5] == []


def test_fresh_weights_are_the_papers() -> None:
    torch.manual_seed(0)
    state = create_model("care_s0").state_dict()
    assert all((v == 1e-6).all() for k, v in state.items() if k.endswith("gamma"))
    assert all((v == 0).all() for k, v in state.items() if k.endswith("bias"))
    weight = state["head.fc.weight"]
    assert abs(weight.std() - 0.02) < 1e-4


def naive_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """out_n = phi(q_n) (K^T V / N) / (phi(q_n) . mean(phi(k)) + 1e-6), position by position."""

    def phi(t: Tensor) -> Tensor:
        return torch.where(t > 0, t + 1, t.exp())

    positions, width = q.shape
    out = torch.empty_like(v)
    for n in range(positions):
        numerator = torch.zeros(width, dtype=v.dtype)
        denominator = torch.tensor(0.0, dtype=v.dtype)
        for m in range(positions):
            weight = (phi(q[n]) * phi(k[m])).sum() / positions
            numerator = numerator + weight * v[m]
            denominator = denominator + weight
        out[n] = numerator / (denominator + 1e-6)
    return out


def test_linear_attention_is_the_papers() -> None:
    torch.manual_seed(0)
    batch, heads, width, height, columns = 2, 3, 4, 3, 5
    channels = heads * width
    qk = torch.randn(batch, 2 * channels, height, columns, dtype=torch.float64)
    v = torch.randn(batch, channels, height, columns, dtype=torch.float64)
    got = LinearAttention(heads)(qk, v)
    for b in range(batch):
        for h in range(heads):
            rows = slice(h * width, (h + 1) * width)
            keys = slice(channels + h * width, channels + (h + 1) * width)
            flat = (t.flatten(1).T for t in (qk[b, rows], qk[b, keys], v[b, rows]))
            want = naive_attention(*flat).T.reshape(width, height, columns)
            torch.testing.assert_close(got[b, rows], want, atol=1e-12, rtol=1e-12)


def test_samples_of_a_batch_do_not_mix(lively_s0: nn.Module) -> None:
    x = torch.randn(3, 3, 48, 64)
    together = lively_s0(x)
    alone = torch.cat([lively_s0(one[None]) for one in x])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_channels_are_memory_then_a_b_c() -> None:
    block = drawn(Block(STRIPS, drop_path=0.0, last=False))
    seen: dict[str, list[list[int]]] = {}

    def note(name: str) -> Any:
        def hook(_: nn.Module, maps: tuple[Tensor, ...]) -> None:
            seen[name] = [m[0, :, 0, 0].int().tolist() for m in maps]

        return hook

    block.token_mixer.register_forward_pre_hook(note("mixer"))
    block.inter_layer.register_forward_pre_hook(note("interaction"))
    block(torch.arange(14.0)[None, :, None, None].expand(1, 14, 4, 4))
    assert seen["mixer"] == [[2, 3, 4, 5], [6, 7, 8, 9], [10, 11, 12, 13]]
    assert seen["interaction"][0] == [0, 1]


def reach(mixer: nn.Module, group: int) -> tuple[int, int, list[int]]:
    """How far an impulse in one group spreads (rows, columns), and to which output channels."""
    maps = [torch.zeros(1, 4, 15, 15) for _ in range(3)]
    still = mixer(*maps)
    maps[group][:, :, 7, 7] = 1
    moved = (mixer(*maps) - still).abs()[0] > 1e-7
    rows, columns = moved.any(0).any(1).nonzero(), moved.any(0).any(0).nonzero()
    channels = moved.flatten(1).any(1).nonzero().flatten().tolist()
    return len(rows), len(columns), channels


def test_branches_are_strips_then_3x3_then_7x7() -> None:
    mixer = drawn(TokenMixer(4, head_width=None))
    assert reach(mixer, 0) == (11, 11, [0, 1, 2, 3])
    assert reach(mixer, 1) == (3, 3, [4, 5, 6, 7])
    assert reach(mixer, 2) == (7, 7, [8, 9, 10, 11])


def test_memory_passes_a_block_by_the_second_interaction_only() -> None:
    block = drawn(Block(STRIPS, drop_path=0.0, last=False))
    x = torch.randn(1, 14, 6, 6)
    changed = x.clone()
    changed[:, :2] += 1
    seen: list[Tensor] = []
    block.inter_layer.inter1_norm.register_forward_pre_hook(lambda _, a: seen.append(a[0]))
    before, after = block(x), block(changed)
    assert torch.equal(*seen)
    assert ((before - after).abs().amax((0, 2, 3)) > 1e-3).all()


def test_last_block_ends_before_the_closing_convolution() -> None:
    model = CARE(CARE_S0)
    *earlier, last = model.stages[3].blocks
    assert all(hasattr(b, "gamma") and hasattr(b.inter_layer, "inter2_fc2") for b in earlier)
    assert not hasattr(last, "gamma")
    assert not hasattr(last.inter_layer, "inter2_fc2")
    assert last(torch.randn(1, 256, 2, 2)).shape == (1, 1024, 2, 2)
