from __future__ import annotations

import pytest

from care_mobile.errors import UsageError
from care_mobile.inspection.options import check_shape, parse_shapes


def test_shapes_by_name() -> None:
    given = parse_shapes(["x=1x3x224x224", "a=b=7"])
    assert given == {"x": (1, 3, 224, 224), "a=b": (7,)}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["1x3"], "is no shape"), (["x="], "is no shape"), (["=1x3"], "is no shape"),
        (["x=1x-3"], "is no shape"), (["x=1x3.5"], "is no shape"), (["x=1xnan"], "is no shape"),
        (["x=1x\u0663"], "is no shape"), (["x=1x" + "9" * 400], "is no shape"),
        (["x=0x3"], "no network takes"), ([f"x=1x{2**31}"], "no network takes"),
        (["x=1", "x=2"], "names 'x' twice"),
    ],
)  # fmt: skip
def test_what_is_no_shape(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_shapes(texts)


def test_free_axes_take_any_size() -> None:
    check_shape("x", (2, 3, 5), ("n", 3, None))
    with pytest.raises(UsageError, match="in the file it is a scalar"):
        check_shape("x", (2,), ())
