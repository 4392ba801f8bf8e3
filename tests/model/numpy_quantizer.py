"""A second implementation of the quantizer, in NumPy and float64, by the formulas of arXiv:1712.05877, section 3."""

import numpy as np


def nudged(values, low, high, *, narrow=False):
    """Quantizes by a scale and an integer zero point: levels 0 to 255, or 1 to 255."""
    least, most = (1, 255) if narrow else (0, 255)
    scale = (high - low) / (most - least)
    zero = np.clip(np.floor(least - low / scale + 0.5), least, most)
    steps = np.floor(np.clip(values / scale + zero, least, most) + 0.5)
    return (steps - zero) * scale


def scaled(values, low, high, *, narrow=False):
    """Quantizes by a scale alone: levels -128 to 127, or -127 to 127; halves round to the even level."""
    least = -127 if narrow else -128
    scale = max(low / least, high / 127)
    return np.clip(np.rint(values / scale), least, 127) * scale


class MovingRange:
    """The range of an activation after some batches."""

    def __init__(self, *, symmetric):
        self._symmetric = symmetric
        self._sums = np.zeros(2)
        self._batches = 0

    def after(self, batch):
        low, high = min(batch.min(), 0.0), max(batch.max(), 0.0)
        if self._symmetric:
            half = max(-low / 128, high / 127)
            low, high = -128 * half, 127 * half
        self._sums = 0.999 * self._sums + 0.001 * np.array([low, high])
        self._batches += 1
        return self._sums / (1 - 0.999**self._batches)
