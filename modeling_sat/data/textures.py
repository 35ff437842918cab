"""Textures that tell the classes of `shapes` apart within a patch of 8×8 pixels, whatever their colours.

A mirror image of each is of the same class, because training flips images.
"""

from collections.abc import Callable

import numpy as np


Texture = Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]
"""`(rng, x, y) -> values` in [0, 1], all of shape (size, size); `x` and `y` are pixel coordinates, shifted at random."""


def _wave(phase: np.ndarray, period: float) -> np.ndarray:
    return 0.5 + 0.5 * np.sin(phase * (2 * np.pi / period))


def _cells(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, pixels: int) -> np.ndarray:
    """Black or white at random, in square cells of so many pixels."""
    size = len(x) // pixels + 2
    values = rng.integers(0, 2, (size, size)).astype(np.float32)
    return np.repeat(np.repeat(values, pixels, axis=0), pixels, axis=1)[: len(x), : len(x)]


def _horizontal_stripes(rng, x, y):
    return _wave(y, rng.uniform(4, 5))


def _vertical_stripes(rng, x, y):
    return _wave(x, rng.uniform(4, 5))


def _diagonal_stripes(rng, x, y):
    return _wave(x + rng.choice((-1, 1)) * y, rng.uniform(6, 7))


def _checks(rng, x, y):
    cell = rng.integers(3, 5)
    return ((x // cell + y // cell) % 2).astype(np.float32)


def _dots(rng, x, y):
    period = rng.uniform(6, 7)
    return (_wave(x, period) * _wave(y, period) > 0.45).astype(np.float32)


def _fine_noise(rng, x, y):
    return _cells(rng, x, y, pixels=1)


def _coarse_noise(rng, x, y):
    return _cells(rng, x, y, pixels=3)


def _grid(rng, x, y):
    period = rng.integers(6, 8)
    return ((x % period < 1.5) | (y % period < 1.5)).astype(np.float32)


def _bricks(rng, x, y):
    row = y // 4
    return ((y % 4 < 1) | ((x + 4 * (row % 2)) % 8 < 1)).astype(np.float32)


def _zigzag(rng, x, y):
    return _wave(y + np.abs(x % 8 - 4), rng.uniform(5, 6))


def _rings(rng, x, y):
    return _wave(np.hypot(x % 16 - 8, y % 16 - 8), rng.uniform(4, 5))


TEXTURES: dict[str, Texture] = {
    "horizontal_stripes": _horizontal_stripes,
    "vertical_stripes": _vertical_stripes,
    "diagonal_stripes": _diagonal_stripes,
    "checks": _checks,
    "dots": _dots,
    "fine_noise": _fine_noise,
    "coarse_noise": _coarse_noise,
    "grid": _grid,
    "bricks": _bricks,
    "zigzag": _zigzag,
    "rings": _rings,
}
