"""Facts of a run that only its plan tells: evaluations to come, and memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

from runtime.planning.memory_estimate import GraphMemory
from runtime.session import uses_gpu
from runtime.task import Setup
from utils.data_config import INDEX
from utils.image_sizes import side_of, sides_of
from utils.input.batching import BATCHES_IN_FLIGHT, PREFETCHED_BATCHES
from utils.metric_names import heading
from utils.records.record_index import shuffled_bytes, shuffles_numbers
from utils.system.machine import memory_gb
from utils.text import plural

_BYTES_OF_A_PIXEL = 12  # three colors in float32
# Measured on a CPU (TensorFlow 2.21, oneDNN, 2 threads): what a session holds besides tensors, and by which factor the
# scratch memory of kernels and the gaps of the allocator exceed the tensors of a step.
_SESSION_BYTES = 135_000_000
_CPU_OVERHEAD = 1.4


def regular_evaluation(setup: Setup) -> str:
    """The evaluations during a training run."""
    run = setup.config.run
    times = "at the end" if run.eval_count == 1 else f"{run.eval_count} times"
    often = f"every {plural(run.eval_every_epochs, 'epoch')}" if run.eval_every_epochs else times
    stop = f"; stops after {run.early_stop_patience} without a better result" if run.early_stop_patience else ""
    return f"{often}; keeps the best by {heading(setup.task.metrics.best)}{stop}"


def memory_needed(setup: Setup, graphs: Sequence[GraphMemory], program: int) -> str:
    """The estimate of the memory of this process.

    Args:
        setup: The run.
        graphs: The graphs of the run. It holds the variables of all, but only one computes at a time.
        program: Bytes of the program without them.
    """
    variables, step = sum(graph.variables for graph in graphs), max(graph.step for graph in graphs)
    waiting, program = input_bytes(setup), program + _SESSION_BYTES
    if uses_gpu(setup.config):
        parts = f"{_amount(variables)} variables, {_amount(step)} activations and gradients"
        return f"about {_amount(variables + step)} on the GPU ({parts}), {_amount(program + waiting)} outside"
    computing = step * _CPU_OVERHEAD
    total = program + variables + computing + waiting
    machine = memory_gb()
    free = f"; only {_amount(machine[1] * 1e9)} are free" if machine and machine[1] * 1e9 < total else ""
    return (
        f"about {_amount(total)}: {_amount(program)} program, {_amount(variables)} variables, {_amount(computing)} "
        f"activations and gradients, {_amount(waiting)} input{free}"
    )


def input_bytes(setup: Setup) -> int:
    """The estimate of the input of this process: batches that wait, and encoded records in the shuffle buffer."""
    options = setup.task.data.input_options()
    batches, images = BATCHES_IN_FLIGHT + PREFETCHED_BATCHES, options.batch_size
    pixels = math.prod(sides_of(options.image_size))
    if setup.config.run.is_training:
        images = setup.config.images_per_step
        if setup.config.detection is None:
            sizes = setup.config.data.train_sizes(side_of(options.image_size))
            pixels = max(each.size for each in sizes) ** 2
    decoded = batches * images * pixels * _BYTES_OF_A_PIXEL
    files = setup.splits.get("train")
    if files is None:
        return decoded
    if options.shuffle == INDEX or shuffles_numbers(files, options.shuffle_buffer):
        return decoded
    return decoded + shuffled_bytes(files, options.shuffle_buffer)


def _amount(size: float) -> str:
    """An estimate to the megabyte, or to a tenth of a gigabyte."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
