"""Conversion of PyTorch's tensor layouts to this project's."""

import numpy as np

from tools.weights.conversion import our_array, our_shape


def test_a_kernel_goes_from_filters_first_to_filters_last():
    theirs = np.random.default_rng(1).normal(size=(5, 4, 2, 3)).astype(np.float32)  # [out, in, height, width]
    shape = our_shape(theirs.shape, torch=True)
    ours = our_array(theirs, shape, torch=True)
    assert shape == (2, 3, 4, 5)
    assert all(ours[y, x, c, f] == theirs[f, c, y, x] for f, c, y, x in np.ndindex(theirs.shape))


def test_a_matrix_is_transposed_and_the_tensors_of_tensorflow_stay():
    theirs = np.arange(6, dtype=np.float64).reshape(2, 3)
    assert our_shape((2, 3), torch=True) == (3, 2)
    np.testing.assert_array_equal(our_array(theirs, (3, 2), torch=True), theirs.T)
    np.testing.assert_array_equal(our_array(theirs, (1, 1, 2, 3), torch=False)[0, 0], theirs)
