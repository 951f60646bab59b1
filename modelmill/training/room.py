"""Arrays of any size: small ones in memory, larger ones in a file that goes when the array does."""

import tempfile
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Larger arrays, in bytes, lie in a file: the system keeps of it in memory what it has room for.
IN_MEMORY = 2 << 30


def room(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Return an array to be filled."""
    if int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize <= IN_MEMORY:
        return np.empty(shape, dtype=dtype)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)


@dataclass
class Growing:
    """An array of one dimension whose length is known when it ends."""

    dtype: np.dtype[Any]
    _parts: list[Array] = field(default_factory=list, init=False)
    _bytes: int = field(default=0, init=False)
    _file: Any = field(default=None, init=False)

    def add(self, part: Array) -> None:
        """Append numbers."""
        part = np.ascontiguousarray(part, dtype=self.dtype)
        self._bytes += part.nbytes
        if self._file is None and self._bytes <= IN_MEMORY:
            self._parts.append(part)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  the array that is mapped from it closes it
            for earlier in self._parts:
                self._file.write(earlier)
            self._parts = []
        self._file.write(part)

    def whole(self) -> Array:
        """Return all of it."""
        if self._file is None:
            return np.concatenate([np.empty(0, dtype=self.dtype), *self._parts])
        self._file.flush()
        made = np.memmap(self._file, dtype=self.dtype, mode="r+")
        self._file.close()
        return made
