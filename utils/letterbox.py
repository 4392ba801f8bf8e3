"""Pictures that keep their proportions in the network's input: at its upper left, with a border right or below.

The functions take NumPy arrays or TensorFlow tensors of int64, and the module that computes with them. Imports no
TensorFlow.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from utils.image_sizes import ImageSize, sides_of


def resized_to_fit(pictures: Any, size: ImageSize, module: Any) -> Any:
    """The sides ``[..., 2]`` in pixels to which pictures are resized: one fills the input, the other is rounded.

    Args:
        pictures: Heights and widths ``[..., 2]``. A side of 0, of a row without a picture, counts as 1.
        size: Size of the network's input.
        module: ``numpy`` or ``tensorflow``.
    """
    rows, columns = sides_of(size)
    pictures = module.maximum(pictures, np.int64(1))
    height, width = pictures[..., 0], pictures[..., 1]
    in_all_columns = (2 * columns * height + width) // (2 * width)
    in_all_rows = (2 * rows * width + height) // (2 * height)
    sides = module.stack([in_all_columns, in_all_rows], axis=-1)
    return module.maximum(module.minimum(sides, np.array([rows, columns], np.int64)), np.int64(1))


def share_of_input(pictures: Any, size: ImageSize, module: Any) -> Any:
    """The share of the input's height and width that each picture takes, ``[..., 2]`` float64 in (0, 1].

    A picture's box in [0, 1] times these is its box in the input. Arguments as in ``resized_to_fit``.
    """
    return resized_to_fit(pictures, size, module) / np.array(sides_of(size), np.int64)
