"""Core ML's weight file, version 2 of its blob storage.

A 64-byte header (count, version), then for each blob a 64-byte record (mark, type, size, offset,
unused bits) and its data, each at a multiple of 64. A program refers to the record. The layout is
that of coremltools' open MILBlob sources. The file is mapped, never read as a whole.
"""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelFileError
from ..pointers import refuse_pointer_file
from .types import BITS, NUMPY, unpack

_HEADER = struct.Struct("<II")
_RECORD = struct.Struct("<IIQQQ")
_MARK = 0xDEADBEEF
_VERSION = 2
_ALIGNMENT = 64
DTYPES = {
    1: "fp16", 2: "fp32", 3: "uint8", 4: "int8", 5: "bf16", 6: "int16", 7: "uint16", 8: "int4",
    9: "uint1", 10: "uint2", 11: "uint4", 12: "uint3", 13: "uint6", 14: "int32", 15: "uint32",
}  # fmt: skip


class WeightFile:
    """Blobs of one file, as read-only views of it."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        # os.path also answers for names that no file can have.
        if not os.path.isfile(path):
            raise ModelFileError(
                f"the weight file {path.name!r} is missing", "copy the whole .mlpackage folder"
            )
        refuse_pointer_file(path)
        try:
            self._bytes = np.memmap(path, np.uint8, "r")
        except ValueError as error:
            raise self._damaged("it is empty") from error
        except OSError as error:
            raise ModelFileError(
                f"the weight file {path.name!r} cannot be read: {error.strerror}"
            ) from error
        if self._bytes.size < _ALIGNMENT:
            raise self._damaged("it ends within its header")
        _, found = _HEADER.unpack_from(self._bytes[: _HEADER.size].tobytes())
        if found != _VERSION:
            raise self._damaged(f"it has version {found}, not {_VERSION}")

    def array(self, offset: int, dtype: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
        """The blob whose record lies at `offset`; sub-byte integers come as one byte each.

        Raises:
            ModelFileError: if the record or its data are not where or what the program says.
        """
        if offset % _ALIGNMENT or offset + _RECORD.size > self._bytes.size:
            raise self._damaged(f"the program refers to offset {offset} of {self._bytes.size}")
        mark, code, size, start, _ = _RECORD.unpack_from(
            self._bytes[offset : offset + _RECORD.size].tobytes()
        )
        if mark != _MARK:
            raise self._damaged(f"there is no blob at offset {offset}")
        if DTYPES.get(code) != dtype and not (dtype == "bool" and DTYPES.get(code) == "uint8"):
            raise self._damaged(
                f"the blob at {offset} holds {DTYPES.get(code, f'type {code}')}, not {dtype}"
            )
        count = math.prod(shape)
        if size != -(-count * BITS[dtype] // 8):
            raise self._damaged(f"the blob at {offset} has {size} bytes for {dtype}{list(shape)}")
        if start + size > self._bytes.size:
            raise self._damaged(f"the blob at {offset} ends behind the end of the file")
        data = self._bytes[start : start + size]
        if BITS[dtype] < 8:
            return unpack(data, dtype, count).reshape(shape)
        if dtype == "bool":
            return np.asarray(data != 0).reshape(shape)
        # A plain array on the mapping: numpy's memmap subclass would make every result one.
        return np.asarray(data).view(NUMPY[dtype]).reshape(shape)

    def _damaged(self, why: str) -> ModelFileError:
        return ModelFileError(f"the weight file {self._name!r} is damaged: {why}", "copy it again")
