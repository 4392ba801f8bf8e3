"""Decoded images that stay on a device while references to them pass through tf.data, which computes on the host."""

from __future__ import annotations

import ctypes
import itertools
import queue
import threading
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from utils.image_processing import CHANNELS
from utils.image_sizes import ImageSize, sides_of
from utils.input.batching import BATCHES_IN_FLIGHT

BATCHES_KEPT = 2 * BATCHES_IN_FLIGHT + 2  # more than a pipeline without prefetching can hold

REFERENCES = tf.TensorSpec([None, 2], tf.int64)
"""The type of references: the number of the batch, and the row of the image in it."""

_NOTHING = -1  # stands for the row of an image that is not there


_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)


class DeviceImages:
    """Batches of images by number, until the network takes them; one session takes them, batch after batch.

    Args:
        device: The device that the network takes them on; it must be that of the images.
        size: Size of the images.
    """

    def __init__(self, device: str, size: ImageSize) -> None:
        self._device = device
        self._size = size
        self._numbers = itertools.count()
        self._kept: dict[int, Any] = {}
        self._lock = threading.Lock()
        self._wanted: queue.SimpleQueue[NDArray[np.int64]] = queue.SimpleQueue()

    def keep(self, images: Any, count: int) -> NDArray[np.int64]:
        """References ``[count + 1, 2]`` to the first ``count`` images, and to zeros in the last row.

        A pipeline that begins anew loses what it had fetched. So no more than ``BATCHES_KEPT`` batches are kept, the
        newest ones.

        Args:
            images: ``[M, H, W, 3]`` float32, an object with DLPack's protocol, in memory that stays as it is.
            count: At most M.
        """
        with self._lock:
            number = next(self._numbers)
            self._kept[number] = images
            self._kept.pop(number - BATCHES_KEPT, None)
        rows = np.append(np.arange(count), _NOTHING)
        return np.stack([np.full_like(rows, number), rows], axis=1)

    def take(self, references: tf.Tensor) -> tf.Tensor:
        """The images ``[N, H, W, 3]`` of references ``[N, 2]`` to one batch, on the device; each batch once."""
        with tf.device("/CPU:0"):  # an input of the other function would go to the device and back
            wanted = tf.numpy_function(self._wanted.put, [references], [])
        with tf.device(self._device), tf.control_dependencies([wanted]):
            images = tf.py_function(self._copied, [], tf.float32, name="images_on_device")
        images.set_shape([references.shape[0], *sides_of(self._size), CHANNELS])
        return images

    def _copied(self) -> Any:
        """The images that were wanted; runs eagerly, on the device.

        TensorFlow lets go of foreign memory when it has launched the last kernel that reads it, which may be before the
        kernel has run. So it gets a copy, and a value of the copy is read, which waits for the copy to be complete.
        """
        numbers, rows = self._wanted.get_nowait().T
        with self._lock:
            kept = self._kept.pop(int(numbers[0]))
        with tf.device(self._device):
            if isinstance(kept, np.ndarray):
                images = tf.constant(kept)
            else:
                images = tf.experimental.dlpack.from_dlpack(_numbered_by_tensorflow(kept.__dlpack__()))
            if (rows == _NOTHING).any():
                images = tf.concat([images, tf.zeros([1, *images.shape[1:]])], axis=0)
                rows = np.where(rows == _NOTHING, len(images) - 1, rows)
            copied = tf.gather(images, rows)
            copied[0, 0, 0, 0].numpy()
        return copied


class _Device(ctypes.Structure):
    """DLPack's DLDevice."""

    _fields_ = (("kind", ctypes.c_int32), ("number", ctypes.c_int32))


class _Tensor(ctypes.Structure):
    """The beginning of DLPack's DLManagedTensor."""

    _fields_ = (("data", ctypes.c_void_p), ("device", _Device))


def _numbered_by_tensorflow(capsule: Any) -> Any:
    """The capsule, its device numbered 0: CUDA counts all GPUs, TensorFlow the one that this process may use."""
    _Tensor.from_address(_pointer_of(capsule, b"dltensor")).device.number = 0
    return capsule
