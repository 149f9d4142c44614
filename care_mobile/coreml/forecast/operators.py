"""Rules about operators and their parameters."""

from __future__ import annotations

from ..macs import DECOMPRESS
from ..program import Constant
from .results import Severity
from .rule import COMMUNITY, Site, rule

MAX_POOL = 13
MAX_KERNEL_WIDTH = 7
_POOLS = frozenset({"avg_pool", "max_pool", "l2_pool"})
_WEIGHTED = frozenset({"conv", "conv_transpose", "linear"})
_ELSEWHERE = {
    "cond": "branches",
    "while_loop": "loops",
    "lstm": "recurrence",
    "gru": "recurrence",
    "rnn": "recurrence",
    "non_zero": "results whose size depends on the data",
    "non_maximum_suppression": "results whose size depends on the data",
    "classify": "class labels",
    "make_list": "lists",
    "list_gather": "lists",
    "list_length": "lists",
    "list_read": "lists",
    "list_scatter": "lists",
    "list_write": "lists",
    "random_bernoulli": "random numbers",
    "random_categorical": "random numbers",
    "random_normal": "random numbers",
    "random_uniform": "random numbers",
}


@rule(
    "ane-operator",
    "operator that is not known to run there",
    Severity.UNLIKELY,
    COMMUNITY,
    "compute it outside the network, or unroll it into convolutions and matrix products",
)
def unsupported(site: Site) -> str | None:
    why = _ELSEWHERE.get(site.operation.type)
    return f"{site.operation.type}: {why} are believed to be left to the CPU" if why else None


@rule(
    "ane-gather",
    "gather or scatter",
    Severity.DOUBTFUL,
    COMMUNITY,
    "replace it by slices, by a matrix product, or do it before the network",
)
def gather(site: Site) -> str | None:
    if not site.operation.type.startswith(("gather", "scatter")):
        return None
    return f"{site.operation.type} is reported to leave the Neural Engine on many chips"


@rule(
    "ane-dynamic-weight",
    "weight that is computed",
    Severity.DOUBTFUL,
    COMMUNITY,
    "make the weight a constant, or write the product as a matmul",
)
def dynamic_weight(site: Site) -> str | None:
    if site.operation.type not in _WEIGHTED:
        return None
    # A weight that is neither an operation's nor a constant is an input of the program.
    given = site.operation.inputs.get("weight", ())
    constant = any(isinstance(operand, Constant) for operand in given)
    producer = site.producer("weight")
    if not given or constant or (producer and producer.type.startswith(DECOMPRESS)):
        return None
    return f"the weight of {site.operation.type} is computed at run time"


@rule(
    "ane-pool",
    f"pooling kernel over {MAX_POOL}",
    Severity.DOUBTFUL,
    COMMUNITY,
    "pool in two steps, or write a global pool as reduce_mean",
)
def pool(site: Site) -> str | None:
    kernel = site.integers("kernel_sizes") if site.operation.type in _POOLS else None
    if not kernel or max(kernel) <= MAX_POOL:
        return None
    sizes = " x ".join(map(str, kernel))
    return f"pools over {sizes}; kernels over {MAX_POOL} are reported to leave"


@rule(
    "ane-stride",
    "stride with a factor other than 2 and 3",
    Severity.DOUBTFUL,
    COMMUNITY,
    "compose the stride of factors 2 and 3",
)
def stride(site: Site) -> str | None:
    strides = site.integers("strides")
    if not strides or all(_is_composed(stride) for stride in strides):
        return None
    return f"strides of {' x '.join(map(str, strides))}"


def _is_composed(stride: int) -> bool:
    """Of factors 2 and 3 only; a stride below 1 is no matter for this rule."""
    for factor in (2, 3):
        while stride > 1 and stride % factor == 0:
            stride //= factor
    return stride <= 1


@rule(
    "ane-wide-kernel",
    f"kernel wider than {MAX_KERNEL_WIDTH}",
    Severity.COST,
    COMMUNITY,
    "turn the kernel to the height axis, or stack narrower ones",
)
def wide_kernel(site: Site) -> str | None:
    weight = site.input("weight")
    if site.operation.type not in ("conv", "conv_transpose") or not weight or not weight.shape:
        return None
    width = weight.shape[-1] or 0
    return f"a kernel {width} wide" if width > MAX_KERNEL_WIDTH else None
