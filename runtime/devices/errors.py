"""Converts TensorFlow's errors about GPUs, their memory and their connection to phrases that say what to do."""

from __future__ import annotations

import re

import tensorflow as tf

from utils.errors import OUT_OF_MEMORY, reason

_FULL = f"{OUT_OF_MEMORY}: a smaller --batch_size or --image_size needs less ({{reason}})"
_KINDS = (  # the first that matches counts: NCCL's errors name CUDA, and cuDNN's errors name memory
    (
        r"nccl",
        "NCCL cannot connect the GPUs or exchange data between them ({reason}); NCCL_DEBUG=INFO says why, and "
        "NCCL_SOCKET_IFNAME names the network interface to use",
    ),
    (
        r"GPU_\d+_bfc|CUDA_ERROR_OUT_OF_MEMORY|CUDA.*out of memory|STATUS_ALLOC_FAILED|exceeds the memory limit",
        f"{_FULL}; nvidia-smi shows whether another process holds memory of the GPU, and --gpu_memory_fraction sets "
        "the share of this one",
    ),
    (r"OOM when|out of memory", _FULL),
    (
        r"DNN library|CUDNN_STATUS_|cudnn handle|CUBLAS_STATUS_|cublas handle|BLAS support|convolution algorithm"
        r"|No algorithm worked",
        "cuDNN or cuBLAS does not work ({reason}): the GPU is in use (nvidia-smi) or its memory is full "
        "(--gpu_memory_fraction, a smaller --batch_size), or the library does not serve it (requirements/gpu.txt)",
    ),
    (
        r"CUDA_ERROR_(NO_BINARY|UNSUPPORTED_PTX|INVALID_PTX|INVALID_IMAGE)|no kernel image|kernel image is invalid"
        r"|driver version is insufficient",
        "this TensorFlow has no code for the GPU and its driver ({reason}); a newer driver or another TensorFlow has",
    ),
    (
        r"CUDA_ERROR_DEVICE_UNAVAILABLE|devices are busy",
        "another process has the GPU for itself ({reason}); nvidia-smi shows it, and --gpu_id names another GPU",
    ),
    (
        r"CUDA_ERROR_|CUDA error|GPU is lost|failed initializing StreamExecutor",
        "the GPU failed ({reason}); nvidia-smi and the kernel's log say more, and --gpu_id names another GPU",
    ),
)


def device_failure(error: tf.errors.OpError) -> str | None:
    """A phrase for an error of a GPU, of its memory or of NCCL; None for any other error."""
    said = _said(error)
    for pattern, phrase in _KINDS:
        if re.search(pattern, said, re.IGNORECASE):
            return phrase.format(reason=reason(error))
    return _FULL.format(reason=reason(error)) if isinstance(error, tf.errors.ResourceExhaustedError) else None


def _said(error: tf.errors.OpError) -> str:
    """The message without the names of operations and the stack trace of graph construction, which come around it."""
    traced, _, told = error.message.rpartition("\nNode: ")
    return str((told.partition("\n")[2] if traced else told).partition("[[")[0])
