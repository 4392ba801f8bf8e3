"""Images that stay on a device, with the CPU in the place of a GPU."""

import ctypes

import numpy as np
import pytest
import tensorflow as tf

from tests.utils.input_records import quick_session
from utils.dali_utils import aligned_images
from utils.input.device_images import BATCHES_KEPT, DeviceImages

SIZE = 4


def images(count, value=0.0):
    """Image i is full of ``value + i``; the memory is aligned, as TensorFlow takes it over on a CPU."""
    made = aligned_images((count, SIZE, SIZE, 3))
    made[:] = value + np.arange(count).reshape(-1, 1, 1, 1)
    return made


class Foreign:
    """Another library's images: TensorFlow learns of them by DLPack's protocol alone."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self):
        return self.array.__dlpack__()


@pytest.fixture
def kept():
    return DeviceImages("/CPU:0", SIZE)


@pytest.fixture
def take(kept):
    with tf.Graph().as_default():
        references = tf.compat.v1.placeholder(tf.int64, [3, 2])
        taken = kept.take(references)
        assert taken.shape == [3, SIZE, SIZE, 3]
        with quick_session() as session:
            yield lambda given: session.run(taken, {references: given})


@pytest.mark.parametrize("owner", [Foreign, np.asarray])
def test_references_become_images_in_the_order_of_the_rows(kept, take, owner):
    references = kept.keep(owner(images(3, 10.0)), 2)
    np.testing.assert_array_equal(take(references)[:, 0, 0, 0], [10, 11, 0])  # the last row stands for zeros
    references = kept.keep(owner(images(3, 20.0)), 3)
    np.testing.assert_array_equal(take(references[[2, 0, 0]]), images(3, 20.0)[[2, 0, 0]])


def test_batches_without_images_are_zeros(kept, take):
    references = kept.keep(images(1), 0)
    assert not take(np.repeat(references, 3, axis=0)).any()


def test_whoever_owns_the_memory_may_write_to_it_once_the_images_are_taken(kept):
    memory = images(3, 5.0)
    with tf.Graph().as_default(), quick_session() as session:
        queue = tf.queue.FIFOQueue(1, [tf.float32])
        session.run(queue.enqueue(kept.take(tf.constant(kept.keep(Foreign(memory), 3)[:3]))))
        memory[:] = -1
        np.testing.assert_array_equal(session.run(queue.dequeue()), images(3, 5.0))


class OnGpu:
    """Images of another library on a GPU; nobody frees them, since TensorFlow would do so twice after an error."""

    def __init__(self, number):
        kind_of_gpu, float32 = 2, (2 | 32 << 8 | 1 << 16)
        self.shape = (ctypes.c_int64 * 4)(3, SIZE, SIZE, 3)
        words = [0, kind_of_gpu | number << 32, 4 | float32 << 32, ctypes.addressof(self.shape), 0, 0, 0]
        self.tensor = (ctypes.c_uint64 * 8)(*words, ctypes.cast(self.nothing, ctypes.c_void_p).value)

    nothing = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda tensor: None)

    def __dlpack__(self):
        create = ctypes.pythonapi.PyCapsule_New
        create.restype, create.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        return create(ctypes.addressof(self.tensor), b"dltensor", None)


@pytest.mark.parametrize("number", [0, 3])
def test_the_gpu_of_a_process_is_the_only_one_whatever_cuda_calls_it(kept, take, number):
    """Without a GPU, TensorFlow can only say which one it has looked for."""
    with pytest.raises(tf.errors.UnknownError, match="GPU:0 unknown device"):
        take(kept.keep(OnGpu(number), 3)[:3])


def test_batches_that_nobody_takes_do_not_pile_up(kept, take):
    references = [kept.keep(images(3, 10.0 * i), 3) for i in range(2 * BATCHES_KEPT)]
    assert len(kept._kept) == BATCHES_KEPT
    np.testing.assert_array_equal(take(references[-BATCHES_KEPT][:3]), images(3, 10.0 * BATCHES_KEPT))
    assert len(kept._kept) == BATCHES_KEPT - 1
