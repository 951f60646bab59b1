"""What pictures look like, measured for all pictures of the same size at once: likeness, brightness, blur.

All sums are of whole numbers below 2^53, which double precision adds without error in any order: so a picture's
measures, and with them the duplicates and splits that hang on them, are the same in every batch and on every machine.
"""

# N pictures, H rows, W columns, P = H x W pixels, K frequencies, S = 32 samples

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from components.ingest.images.decode import Looked
from components.ingest.images.settings import Images

Doubles = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

FLAGS = ("animated", "dark", "bright", "blurry", "blank")
"""What a picture may be flagged as: bit 0 to 4."""
ANIMATED, DARK, BRIGHT, BLURRY, BLANK = (1 << bit for bit in range(len(FLAGS)))

# The perceptual hash of imagehash's `phash`: 8 x 8 low frequencies of 32 x 32 samples.
_KEPT = 8
_SAMPLES = 32
# Of the filter "Lanczos", in samples.
_LOBES = 3.0
# Weights are whole 16,384ths: 255 x (2^14 x 84)^2, with 84 above the sum of a row's weights, is below 2^53.
_SCALE = 1 << 14
# 99 %: a single lit window does not make a night bright.
_NEARLY_ALL = 0.99
# Held in double precision at once, in pixels: 32 MB.
_CHUNK_PIXELS = 1 << 22


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """The measures of pictures, in their order; of gray levels from 0 to 255."""

    hash_N: Hashes
    """The perceptual hash (pHash)."""
    brightness_N: Doubles
    """Mean."""
    contrast_N: Doubles
    """Standard deviation."""
    sharpness_N: Doubles
    """Variance of the Laplacian; infinite where a picture is too small to have one."""
    flags_N: Bytes
    """Sum of ANIMATED, DARK, BRIGHT, BLURRY, BLANK."""

    @classmethod
    def nothing(cls, count: int) -> "Features":
        """Return the features of pictures of which nothing is known: all zero."""
        none_N = np.zeros(count)
        return cls(
            hash_N=np.zeros(count, dtype=np.uint64),
            brightness_N=none_N,
            contrast_N=none_N.copy(),
            sharpness_N=none_N.copy(),
            flags_N=np.zeros(count, dtype=np.uint8),
        )

    def take(self, rows: Sequence[int]) -> "Features":
        """Return the features of some of the pictures."""
        chosen = np.array(rows, dtype=np.int64)
        return Features(**{each.name: getattr(self, each.name)[chosen] for each in fields(self)})


def measure(pictures: Sequence[Looked], settings: Images) -> Features:
    """Return the measures of decoded pictures.

    The hash is C. Zauner's (Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, section 3.2.1)
    as the library imagehash computes it, but for rounding. Blur by the variance of the Laplacian: J. L. Pech-Pacheco
    and others, Diatom autofocusing in brightfield microscopy, 2000.
    """
    count = len(pictures)
    features = Features.nothing(count)
    places: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, picture in enumerate(pictures):
        places[picture.gray_height, picture.gray_width].append(place)
    for (height, width), rows in places.items():
        step = max(1, _CHUNK_PIXELS // (height * width))
        for start in range(0, len(rows), step):
            chunk = rows[start : start + step]
            joined = b"".join([pictures[row].gray for row in chunk])
            gray_NHW = np.frombuffer(joined, dtype=np.uint8).reshape(len(chunk), height, width)
            _measure(gray_NHW, settings, features, np.array(chunk))
    animated_N = np.fromiter((picture.animated for picture in pictures), dtype=np.bool_, count=count)
    features.flags_N[animated_N] |= ANIMATED
    return features


def perceptual_hash(gray_NHW: npt.NDArray[np.number]) -> Hashes:
    """Return the 64-bit pHash of gray pictures of one size [N, H, W], as whole numbers from 0 to 255."""
    count, height, width = gray_NHW.shape
    across_NHK = gray_NHW.astype(np.float64, copy=False).reshape(-1, width) @ _frequencies(width).T
    low_NKK = _frequencies(height) @ across_NHK.reshape(count, height, _KEPT)
    low_NP = low_NKK.reshape(count, -1)
    bits_NP = low_NP > np.median(low_NP, axis=1, keepdims=True)
    return np.packbits(bits_NP, axis=1).view(">u8").astype(np.uint64)[:, 0]


def _measure(gray_NHW: Bytes, settings: Images, features: Features, rows: Integers) -> None:
    count, pixels = len(gray_NHW), gray_NHW[0].size
    flat_NP = gray_NHW.reshape(count, -1)
    exact_NP = flat_NP.astype(np.float64)
    brightness_N, contrast_N = _moments(exact_NP)
    sharpness_N = _sharpness(gray_NHW)
    blank_N = contrast_N < settings.blank
    # Which blank pictures are also called blurry says nothing: they have no edges that could be sharp.
    blurry_N = (sharpness_N < settings.blurry) & ~blank_N
    dark_N = np.count_nonzero(flat_NP < settings.dark, axis=1) >= _NEARLY_ALL * pixels
    bright_N = np.count_nonzero(flat_NP > settings.bright, axis=1) >= _NEARLY_ALL * pixels
    features.hash_N[rows] = perceptual_hash(exact_NP.reshape(gray_NHW.shape))
    features.brightness_N[rows] = brightness_N
    features.contrast_N[rows] = contrast_N
    features.sharpness_N[rows] = sharpness_N
    features.flags_N[rows] = dark_N * DARK + bright_N * BRIGHT + blurry_N * BLURRY + blank_N * BLANK


def _sharpness(gray_NHW: Bytes) -> Doubles:
    count, height, width = gray_NHW.shape
    if min(height, width) < 3:
        return np.full(count, np.inf)
    # 4 neighbours less 4 times the pixel: from -1020 to 1020.
    wide = gray_NHW.astype(np.int16)
    laplacian = wide[:, :-2, 1:-1] + wide[:, 2:, 1:-1]
    laplacian += wide[:, 1:-1, :-2]
    laplacian += wide[:, 1:-1, 2:]
    laplacian -= wide[:, 1:-1, 1:-1] << 2
    return _moments(laplacian.reshape(count, -1).astype(np.float64))[1] ** 2


def _moments(values_NP: Doubles) -> tuple[Doubles, Doubles]:
    """Return the mean and the standard deviation of rows of whole numbers."""
    count = values_NP.shape[1]
    sum_N = values_NP.sum(axis=1)
    squares_N = np.einsum("np,np->n", values_NP, values_NP)
    return sum_N / count, np.sqrt(np.maximum(squares_N * count - sum_N**2, 0.0)) / count


# Pictures are at most GRAY_SIDE pixels a side when they come here.
@lru_cache(maxsize=512)
def _frequencies(size: int) -> Doubles:
    """Return the weights [8, size] that make the lowest frequencies of a line of pixels, in whole 16,384ths.

    They are those of the cosine transform (type II) of 32 samples, which Pillow's Lanczos filter makes of the line.
    """
    angle = np.pi * np.outer(np.arange(_KEPT), 2 * np.arange(_SAMPLES) + 1) / (2 * _SAMPLES)
    weights_KW: Doubles = np.rint(2 * np.cos(angle) @ _lanczos(size) * _SCALE)
    return weights_KW


def _lanczos(size: int) -> Doubles:
    """Return the weights [32, size] by which Pillow's Lanczos filter makes 32 samples of a line (`Resample.c`)."""
    scale = size / _SAMPLES
    stretch = max(scale, 1.0)
    centre_S = (np.arange(_SAMPLES) + 0.5) * scale
    first_S = np.maximum(np.floor(centre_S - _LOBES * stretch + 0.5), 0)
    last_S = np.minimum(np.floor(centre_S + _LOBES * stretch + 0.5), size)
    pixel = np.arange(size)
    away = (pixel - centre_S[:, None] + 0.5) / stretch
    weights = np.where(np.abs(away) < _LOBES, np.sinc(away) * np.sinc(away / _LOBES), 0.0)
    weights[(pixel < first_S[:, None]) | (pixel >= last_S[:, None])] = 0.0
    normal: Doubles = weights / weights.sum(axis=1, keepdims=True)
    return normal
