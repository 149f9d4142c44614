"""Small damage, drawn from a seed: to bytes, to JSON, and to what is inside an archive."""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import zipfile
from typing import Any

_INTEGERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_WIDTHS = ("<B", "<H", "<I", "<Q", ">I")
_MOST_CHANGES = 8

HOSTILE: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**31, 2**63, -(2**63), 10**18, 10**400, 0.5, -0.0, 1e308, 5e-324,
    float("inf"), float("-inf"), float("nan"), "", "\0", "\x1b[2J\x1b]0;t\x07", "\u202e", "a\nb",
    "../../etc/passwd", "/etc/passwd", "C:\\x", "n" * 300, "n/" * 3000, "n" * 100_000, "%s%n{0}",
    [], {}, [[]], [10**18] * 4, [1] * 5000, {"a": {"a": {"a": 1}}}, "NaN", "1e999",
)  # fmt: skip
_DEPTH = 100_000


def damaged(content: bytes, draw: random.Random) -> bytes:
    """A file of any kind with a few changes."""
    data = bytearray(content)
    for _ in range(draw.randint(1, _MOST_CHANGES)):
        _change(data, draw)
    return bytes(data)


def _change(data: bytearray, draw: random.Random) -> None:
    place = draw.randrange(len(data) + 1)
    length = min(draw.choice((1, 2, 4, 8, 64, 4096)), len(data) - place)
    kind = draw.randrange(7)
    if kind == 0 and data:
        data[place % len(data)] ^= 1 << draw.randrange(8)
    elif kind == 1:
        data[place : place + length] = draw.randbytes(length)
    elif kind == 2:
        form = draw.choice(_WIDTHS)
        value = draw.choice(_INTEGERS) & (256 ** struct.calcsize(form) - 1)
        data[place : place + struct.calcsize(form)] = struct.pack(form, value)
    elif kind == 3:
        del data[place : place + length]
    elif kind == 4:
        other = draw.randrange(len(data) + 1)
        data[other:other] = data[place : place + length]
    elif kind == 5:
        data[place:place] = draw.randbytes(draw.choice((1, 4, 64)))
    elif kind == 6 and draw.random() < 0.3:
        del data[place:]


def damaged_json(content: bytes, draw: random.Random) -> bytes:
    """A JSON file with a few hostile values, names or holes; seldom one that is no JSON."""
    if draw.random() < 0.05:
        return damaged(content, draw)
    if draw.random() < 0.02:
        return draw.choice((b"[", b'{"a":')) * _DEPTH
    value = json.loads(content)
    for _ in range(draw.randint(1, 3)):
        value = _damaged_value(value, draw)
    return json.dumps(value).encode()


def damaged_lines(content: bytes, draw: random.Random) -> bytes:
    """JSON lines, one of them damaged."""
    lines = content.splitlines()
    place = draw.randrange(len(lines))
    lines[place] = damaged_json(lines[place], draw)
    return b"\n".join(lines) + b"\n"


def _damaged_value(value: Any, draw: random.Random) -> Any:
    value = copy.deepcopy(value)
    holder, key = draw.choice(_places(value) or [(None, None)])
    if holder is None:
        return draw.choice(HOSTILE)
    kind = draw.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[draw.choice([h for h in HOSTILE if isinstance(h, str)])] = holder.pop(key)
    elif kind == 2 and isinstance(holder, list):
        holder.extend([holder[key]] * draw.choice((1, 5, 500)))
    elif kind in (3, 4):
        holder[key] = _alike(holder[key], draw)
    else:
        holder[key] = draw.choice(HOSTILE)
    return value


def _alike(value: Any, draw: random.Random) -> Any:
    """Another value of its type, which readers let further in."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return draw.choice((0, 1, 2, 3, 7, 64, 1000, value + 1, value - 1, 2 * value))
    if isinstance(value, float):
        return draw.choice((0.0, 1e-9, 0.5, 1.0, 1e9, -value, value * draw.random()))
    if isinstance(value, str):
        return draw.choice(("", "a", "logits", "float16", "int64", "bool", value[::-1], value * 2))
    return draw.choice(HOSTILE)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every holder with each of its keys or positions."""
    if isinstance(value, dict):
        keys: Any = list(value)
    elif isinstance(value, list):
        keys = range(len(value))
    else:
        return []
    own = [(value, key) for key in keys]
    return own + [place for key in keys for place in _places(value[key])]


def damaged_archive(content: bytes, draw: random.Random) -> bytes:
    """A zip file with a damaged member under a right checksum, or with damage anywhere."""
    if draw.random() < 0.3:
        return damaged(content, draw)
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(target, "w") as new:
        members = old.namelist()
        chosen = draw.choice(members)
        for name in members:
            data = old.read(name)
            new.writestr(name, damaged(data, draw) if name == chosen else data)
    return target.getvalue()
