"""From the user's network to a graph of modules: right whatever the network's code does."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from networks import Classifier, lively, tiny_care
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from care_mobile.errors import EquivalenceError, ModelError
from care_mobile.export.bounds import relative_error
from care_mobile.export.eager import answer, flatten
from care_mobile.export.equivalence import TOLERANCE, Reparameterized, reparameterize
from care_mobile.export.reparam import DEFAULT
from care_mobile.export.reparam.doubling import doubled, restored
from care_mobile.export.reparam.trace import program
from care_mobile.inputs import Preprocessing, Resolution

pytestmark = pytest.mark.filterwarnings("ignore")


def conv(width: int = 8) -> nn.Conv2d:
    return nn.Conv2d(3, width, 3, padding=1)


class Net(nn.Module):
    """A convolution, what `body` makes of its result, a BatchNorm to fold before it."""

    def __init__(self, body: Callable[[Net, Tensor], object]) -> None:
        super().__init__()
        self.conv = conv()
        self.norm = nn.BatchNorm2d(8)
        self.other = nn.Conv2d(8, 8, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.body = body

    def forward(self, x: Tensor) -> object:
        return self.body(self, self.norm(self.conv(x)))


def add_in_place(net: Net, x: Tensor) -> Tensor:
    y = net.other(x)
    y.add_(x)
    return y


def relu_in_place(net: Net, x: Tensor) -> Tensor:
    y = net.other(x)
    net.relu(y)
    return y + x


def clamp_view(net: Net, x: Tensor) -> Tensor:
    y = net.other(x)
    y[:, 2:5].clamp_(-0.1, 0.1)
    return y


def assign_slices(net: Net, x: Tensor) -> Tensor:
    y = x.clone()
    y[:, :, ::2] = 2.0
    y[:, 1] *= 3.0
    y.transpose(2, 3)[..., 0] += 1.0
    return y


def written_before_it_is_read(net: Net, x: Tensor) -> Tensor:
    y = net.other(x)
    z = y.sigmoid()
    y.mul_(0.5)
    z.add_(y)
    y.copy_(z)
    return y + z


def through_a_view(net: Net, x: Tensor) -> Tensor:
    y = net.other(x)
    flat = y.view(1, -1)
    y.mul_(2.0)
    return flat + 1.0


def out_argument(net: Net, x: Tensor) -> Tensor:
    y = torch.empty_like(x)
    torch.mul(x, 3.0, out=y)
    return y


def no_grad_inside(net: Net, x: Tensor) -> Tensor:
    with torch.no_grad():
        y = net.other(x)
    return y.to(torch.float32) + x


def fixed_types(net: Net, x: Tensor) -> Tensor:
    ramp = (
        torch.arange(8, dtype=torch.float32)[:, None, None]
        + torch.arange(0.0, 4.0, 0.5)[:, None, None]
    )
    return x * ramp + torch.eye(16) - torch.full((1,), 0.3) + x.float().mean()


def half_inside(net: Net, x: Tensor) -> Tensor:
    return (x.half() * 2).float() + x


def several(net: Net, x: Tensor) -> object:
    return {"a": x, "b": [x.mean((2, 3)), (x.argmax(1), x > 0)]}


def power_in_place(net: Net, x: Tensor) -> Tensor:
    """The overload's name, Scalar, means another argument out of place."""
    y = net.other(x)
    y.pow_(2).div_(3.0, rounding_mode="floor")
    return y.sub_(x, alpha=2)


def compared_in_place(net: Net, x: Tensor) -> Tensor:
    """Out of place the result is a truth value, which subtraction refuses."""
    y = net.other(x)
    y.gt_(0.1)
    return x - y


def narrow_in_place(net: Net, x: Tensor) -> Tensor:
    """Out of place the result is as wide as what is added."""
    y = net.other(x).half()
    y.add_(x)
    return y


BODIES = [
    power_in_place, compared_in_place, narrow_in_place,
    add_in_place, relu_in_place, clamp_view, assign_slices, written_before_it_is_read,
    through_a_view, out_argument, no_grad_inside, fixed_types, half_inside, several,
]  # fmt: skip


def proven(network: nn.Module, side: int = 16) -> Reparameterized:
    about = Preprocessing(resolution=Resolution(width=side, height=side))
    return reparameterize(network, DEFAULT, about, lively=True)


def same(network: nn.Module, result: Reparameterized, side: int = 16, limit: float = 2e-5) -> bool:
    x = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        return relative_error(answer(network, x), flatten(result.model(x.clone()))) <= limit


def folded(result: Reparameterized) -> int:
    return sum(r.places for r in result.passes if r.name.startswith("batch-norm"))


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_whatever_a_forward_does(body: Callable[[Net, Tensor], object]) -> None:
    network = lively(Net(body)).float()
    result = proven(network)
    x = torch.zeros(1, 3, 16, 16)
    types = [output.dtype for output in answer(network, x)]
    assert [output.dtype for output in flatten(result.model(x))] == types
    half = body in (half_inside, narrow_in_place)
    assert same(network, result, limit=2e-3 if half else 2e-5)
    assert folded(result) == 1
    assert result.proof.arithmetic == "float64"


class Default(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = conv(), nn.BatchNorm2d(8)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, flag: bool = False, scale: float = 2.0
    ) -> Tensor:
        x = self.norm(self.conv(x))
        if mask is not None:
            x = x * mask
        return x * scale if not flag else -x


class SameConv(nn.Conv2d):
    """TF-style same padding: a forward of its own in a subclass."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 1, 0, 1))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class StandardizedConv(nn.Conv2d):
    """Weight standardisation: the weight that convolves is computed."""

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, w, self.bias, self.stride, self.padding)


class AlwaysTraining(nn.BatchNorm2d):
    """Held in training: normalises by the batch whatever it is told."""

    def train(self, mode: bool = True) -> AlwaysTraining:
        return super().train(True)


class ScaledNorm(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return 3.0 * super().forward(x) + x


def with_hook(pre: bool) -> nn.Module:
    network = nn.Sequential(conv(), nn.BatchNorm2d(8), nn.ReLU())
    if pre:
        network[1].register_forward_pre_hook(lambda module, args: (args[0] * 2.0,))
    else:
        network[0].register_forward_hook(lambda module, args, output: output.tanh())
    return network


def pruned() -> nn.Module:
    network = nn.Sequential(conv(), nn.BatchNorm2d(8))
    prune.l1_unstructured(network[0], "weight", amount=0.5)
    return network


def beside_norm(layer: nn.Module) -> nn.Module:
    return nn.Sequential(layer, nn.BatchNorm2d(8), nn.ReLU())


@pytest.mark.parametrize(
    ("network", "places"),
    [
        (Default(), 1),
        (beside_norm(SameConv(3, 8, 3, stride=2)), 1),
        (beside_norm(StandardizedConv(3, 8, 3, padding=1)), 1),
        (nn.Sequential(conv(), AlwaysTraining(8)), 0),
        (nn.Sequential(conv(), ScaledNorm(8)), 0),
        (with_hook(pre=True), 0),
        (with_hook(pre=False), 0),
        (pruned(), 1),
        (beside_norm(nn.utils.weight_norm(conv())), 1),
        (beside_norm(nn.utils.spectral_norm(conv())), 1),
        (beside_norm(parametrizations.weight_norm(conv())), 1),
        (beside_norm(parametrizations.orthogonal(nn.Conv2d(3, 8, 1))), 1),
        (nn.Sequential(conv(), nn.BatchNorm2d(8).half().float()), 1),
    ],
    ids=lambda value: value.__class__.__name__,
)
def test_what_a_module_does_counts_not_its_class(network: nn.Module, places: int) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    network.eval()
    result = proven(network)
    assert same(network, result)
    assert folded(result) == places


class Counting(nn.Module):
    """State in a buffer and by hand; a normalisation that sets itself up on first use."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(1, 8, 1, 1))
        self.total, self.ready = 0, False

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if not self.ready:
            self.mean.copy_(x.mean((0, 2, 3), keepdim=True))
            self.ready = True
        self.calls += 1
        self.total += 1
        return (x - self.mean) * self.calls * self.total


def test_state_is_exported_as_it_came() -> None:
    network = Counting().eval()
    before = copy.deepcopy(network.state_dict())
    result = proven(network)
    assert not network.ready and network.total == 0
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert same(network, result)
    x = torch.randn(1, 3, 16, 16)
    assert torch.equal(result.model(x), result.model(x)), "a call changes what the next one gives"


class PastAutograd(nn.Module):
    """What torch.export does not see: a parameter replaced through `.data`."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.ready = nn.Parameter(torch.ones(1, 3, 1, 1)), False

    def forward(self, x: Tensor) -> Tensor:
        if not self.ready:
            self.scale.data = 1 / x.std((0, 2, 3), keepdim=True)
            self.ready = True
        return x * self.scale


def test_a_program_that_is_not_the_network_is_refused() -> None:
    with pytest.raises(EquivalenceError, match="does not see what the network computes"):
        proven(PastAutograd())


class Random(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


class Dropping(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x)


@pytest.mark.parametrize("kind", [Random, Dropping])
def test_random_answers_are_refused(kind: type[nn.Module]) -> None:
    with pytest.raises(ModelError, match="the same input differently every time"):
        proven(kind())


class InTraining(nn.Module):
    def __init__(self, reads: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.reads = reads

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        norm.num_batches_tracked.add_(1)
        y = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, True)
        return y * norm.running_var[:, None, None] if self.reads else y


@pytest.mark.parametrize("reads", [False, True])
def test_batch_norm_in_training_forgets_statistics_that_nothing_reads(reads: bool) -> None:
    """ExecuTorch has no form that writes them, and ONNX another meaning of it."""
    network = InTraining(reads).eval()
    found = program(network, torch.randn(1, 3, 8, 8))
    kept = any(
        isinstance(node.target, torch._ops.OpOverload)
        and node.target._schema.name == "aten::batch_norm"
        for node in found.graph.nodes
    )
    assert kept is not reads
    assert same(network, proven(network))


class OwnGenerator(nn.Module):
    """Answers the same every time; `torch.export` takes it and makes what does not run."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn(3, 1, 1, generator=torch.Generator().manual_seed(0))


def test_a_program_that_does_not_run_is_refused() -> None:
    with pytest.raises(ModelError, match="does not run"):
        proven(OwnGenerator())


class LongLevels(nn.Module):
    """Takes pixels as indices: noise is outside its table, a photo is not."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(256, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.table((x * 255).long()).mean((2, 3))


def test_the_proof_uses_an_input_that_the_network_takes() -> None:
    about = Preprocessing(
        resolution=Resolution(width=16, height=16), mean=(0.0,) * 3, std=(1.0,) * 3
    )
    result = reparameterize(LongLevels().eval(), DEFAULT, about, lively=True)
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(result.model(x), answer(LongLevels(), x)[0] * 0 + result.model(x))


class BitCasting(nn.Module):
    """Reads the bits of float32 numbers, which has no meaning in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = conv(), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(self.conv(x))
        return x, x.abs().view(torch.int32) >> 31


def test_what_has_no_float64_is_proven_in_float32_and_says_so() -> None:
    network = lively(BitCasting()).float()
    result = proven(network)
    assert result.proof.arithmetic == "float32" and "bits" in result.proof.reason
    assert folded(result) == 1
    assert result.passes[1].arithmetic == "float32"
    assert same(network, result)


class Stretch(nn.Module):
    """Multiplies features with each other again and again, as StarNet does: rounding grows."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(8), nn.Conv2d(8, 16, 1)) for _ in range(14)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            a, b = layer(x).chunk(2, 1)
            x = x + torch.sin(4.0 * a) * b.tanh()
        return x


def test_rounding_that_grows_is_rounding() -> None:
    torch.manual_seed(0)
    result = proven(lively(Stretch()).float())
    assert folded(result) == 14
    assert max(report.relative_error for report in result.passes) > TOLERANCE
    assert not any(left.unproven for report in result.passes for left in report.left)


class Zero(nn.Module):
    """An answer whose true value is zero: attention minus itself, a filter of zero mean."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.next = conv(), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.next(self.norm(self.conv(x)))
        return y.sum((2, 3)) - y.flatten(2).sum(2) + (y - y.roll(1, 1)).sum(1).mean((1, 2))[:, None]


def test_an_answer_of_zero_is_held_to_rounding() -> None:
    result = proven(lively(Zero()).float())
    assert folded(result) == 1
    assert result.passes[1].relative_error <= 1e-10


def test_shared_and_tied_weights_stay_shared() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1))
    network[2].weight = network[0].weight
    model = proven(lively(network).float()).model
    first, second = (m for m in model.modules() if isinstance(m, nn.Conv2d))
    assert first.weight is second.weight


def test_float64_and_back() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1).half())
    network.insert(1, _Cast(torch.float16))
    graph = program(network.eval(), torch.randn(1, 3, 4, 4))
    wide = doubled(graph)
    assert {b.dtype for b in wide.buffers()} == {torch.float64}
    x = torch.randn(1, 3, 4, 4)
    assert torch.equal(restored(wide)(x), network(x))
    assert {b.dtype for b in graph.buffers()} == {torch.float32, torch.float16}


class _Cast(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.dtype)


def test_layers_in_half_precision_are_left_to_themselves() -> None:
    network = nn.Sequential(
        _Cast(torch.float16),
        nn.Conv2d(3, 4, 1).half(),
        nn.BatchNorm2d(4).half(),
        _Cast(torch.float32),
    )
    result = proven(network.eval())
    assert folded(result) == 0
    assert same(network, result, limit=0.0)


@pytest.mark.parametrize("build", [Classifier, tiny_care])
def test_any_number_of_images(build: Callable[[], nn.Module]) -> None:
    network = lively(build()).float()
    about = Preprocessing(resolution=Resolution(width=32, height=32))
    result = reparameterize(network, DEFAULT, about, lively=True, dynamic_batch=True)
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        want = torch.cat([answer(network, image[None])[0] for image in x])
        assert relative_error([want], [result.model(x)]) <= 2e-5


class Named(nn.Module):
    """Names that a GraphModule has for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.graph, self.state, self.code = conv(), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.code(self.state(self.graph(x)))


def test_modules_may_have_any_name() -> None:
    network = lively(Named()).float()
    result = proven(network)
    assert same(network, result) and folded(result) == 1


def test_a_network_that_fails_is_refused_with_its_words() -> None:
    with pytest.raises(ModelError, match="a network that fails"):
        proven(Broken())


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("a network that fails")
