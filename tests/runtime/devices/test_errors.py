"""Errors of GPUs, as TensorFlow, cuDNN and NCCL word them, become phrases that say what to do."""

import pytest
import tensorflow as tf

from runtime.data_errors import readable_data_errors
from runtime.devices.errors import device_failure
from utils.errors import OUT_OF_MEMORY, RunError

ERRORS = [
    (
        tf.errors.ResourceExhaustedError,
        "OOM when allocating tensor with shape[256,64,112,112] and type half on /job:localhost/replica:0/task:0/"
        "device:GPU:0 by allocator GPU_0_bfc\n\t [[{{node stem}}]]",
        ("out of memory: a smaller --batch_size", "nvidia-smi", "--gpu_memory_fraction"),
    ),
    (tf.errors.InternalError, "CUDA_ERROR_OUT_OF_MEMORY: out of memory", ("out of memory: ", "--gpu_memory_fraction")),
    (
        tf.errors.NotFoundError,
        "Graph execution error:\n\nDetected at node 'conv' defined at:\n  File nccl.py, line 7\n"
        "Node: 'conv'\nNo algorithm worked!  Error messages:\n  Profiling failure on CUDNN engine 1#TC: "
        "RESOURCE_EXHAUSTED: Allocating 201326592 bytes exceeds the memory limit of 4294967296 bytes."
        "\n\t [[{{node conv}}]]",
        ("out of memory: ",),
    ),
    (tf.errors.NotFoundError, "No algorithm worked!\n\t [[{{node conv}}]]", ("cuDNN or cuBLAS does not work",)),
    (tf.errors.UnimplementedError, "DNN library is not found.", ("cuDNN or cuBLAS does not work", "gpu.txt")),
    (tf.errors.InternalError, "failed to create cublas handle: the library was not initialized", ("in use",)),
    (
        tf.errors.InternalError,
        "'cuModuleLoadDataEx' failed with 'CUDA_ERROR_UNSUPPORTED_PTX_VERSION'",
        ("no code for the GPU and its driver", "a newer driver"),
    ),
    (
        tf.errors.InternalError,
        "failed initializing StreamExecutor for CUDA device ordinal 3: CUDA_ERROR_DEVICE_UNAVAILABLE",
        ("another process has the GPU for itself", "--gpu_id"),
    ),
    (tf.errors.InternalError, "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access", ("the GPU failed", "nvidia-smi")),
    (
        tf.errors.UnknownError,
        "ncclCommInitRank failed: unhandled system error\n\t [[{{node HorovodAllreduce_grads_0}}]]",
        ("NCCL cannot connect the GPUs", "(ncclCommInitRank failed", "NCCL_DEBUG=INFO", "NCCL_SOCKET_IFNAME"),
    ),
]


@pytest.mark.parametrize(("kind", "message", "parts"), ERRORS, ids=[message[:25] for _, message, _ in ERRORS])
def test_an_error_of_a_gpu_says_what_to_do(kind, message, parts):
    found = device_failure(kind(None, None, message))
    assert [part for part in parts if part not in found] == []
    assert "\n" not in found
    place = "after step 3 of rank 1 on node2"
    with pytest.raises(RunError, match=rf"; {place}$"), readable_data_errors({}, lambda: place):
        raise kind(None, None, message)


def test_full_memory_of_the_host_is_not_blamed_on_a_gpu():
    message = "OOM when allocating tensor with shape[64,112,112,64] on /device:CPU:0 by allocator cpu"
    assert device_failure(tf.errors.ResourceExhaustedError(None, None, message)) == (
        f"{OUT_OF_MEMORY}: a smaller --batch_size or --image_size needs less ({message})"
    )
    found = device_failure(tf.errors.ResourceExhaustedError(None, None, "too much"))
    assert found.startswith(f"{OUT_OF_MEMORY}: ")


@pytest.mark.parametrize(
    "message",
    [
        "Input 0 has another shape\n\t [[{{node nccl_scope/conv}}]]\nOriginal stack trace: CUDA_ERROR_nothing",
        "Horovod has been shut down. This was caused by an exception on one of the ranks",
        "could not create a primitive",
    ],
)
def test_other_errors_are_none_of_a_gpu(message):
    assert device_failure(tf.errors.InternalError(None, None, message)) is None


def test_a_process_that_ended_is_named_as_before():
    ended = r"another process of the run has ended, so this one ends too \(Horovod has"
    with pytest.raises(RunError, match=ended), readable_data_errors({}, lambda: "after step 3"):
        raise tf.errors.UnknownError(None, None, "Horovod has been shut down.")
