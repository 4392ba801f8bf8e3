"""Facts that only the plan of a run shows: evaluations to come, memory, and files to write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from runtime.memory_estimate import GraphMemory
from runtime.session import uses_gpu
from runtime.task import Setup
from utils.checkpoints import BEST
from utils.console.figures import plain_name
from utils.flags.table import WITH_EXPORT, WITH_REPORT
from utils.input.batching import BATCHES_IN_FLIGHT, PREFETCHED_BATCHES
from utils.metric_names import heading
from utils.reporting.evaluation_file import EVALUATION_NAME
from utils.reporting.run_page import REPORT_NAME
from utils.system.machine import memory_gb
from utils.text import plural
from utils.weights.description import PREFIX

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
    waiting, program = _input_bytes(setup), program + _SESSION_BYTES
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


def _input_bytes(setup: Setup) -> int:
    """Batches that wait for the network, and encoded records in the shuffle buffer."""
    options = setup.task.data.input_options()
    batches = BATCHES_IN_FLIGHT + PREFETCHED_BATCHES
    decoded = batches * options.batch_size * options.image_size**2 * _BYTES_OF_A_PIXEL
    files = setup.splits.get("train")
    if files is None:
        return decoded
    stored = sum(Path(path).stat().st_size for path in files.paths)
    return decoded + stored * min(options.shuffle_buffer, files.examples) // max(files.examples, 1)


def _amount(size: float) -> str:
    """An estimate to the megabyte, or to a tenth of a gigabyte."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def outputs(setup: Setup) -> str:
    """The files that the run writes, one a line."""
    return "\n".join(map(plain_name, _outputs(setup)))


def _outputs(setup: Setup) -> Iterator[str]:
    run = setup.config.run
    folder, results = Path(run.checkpoint_dir), Path(run.results_dir)
    yield f"{run.log_path}: log, appended"
    if run.is_training and not run.is_benchmark:
        every = plural(run.checkpoint_every, "step")
        yield f"{folder / PREFIX}-STEP: checkpoints, every {every} and at the end; the last {run.keep_checkpoints} stay"
        yield f"{folder}/events.out.tfevents.*: curves for TensorBoard"
    if run.mode == "train_and_evaluate":
        yield f"{folder / BEST}/: best checkpoint"
    if run.mode in ("train_and_evaluate", "evaluate"):
        yield f"{results / EVALUATION_NAME}: evaluation"
        if setup.config.detection:
            yield f"{results}/detections.json: detections in COCO's format"
        yield f"{folder if run.is_training else results}/eval/: curves of the evaluations for TensorBoard"
    if run.mode == "predict":
        pictures = ", pictures/" if setup.task.presenter.draws else ""
        yield f"{results}/: predictions.json, predictions.csv{pictures}"
    if run.report and run.mode in WITH_REPORT:
        yield f"{results / REPORT_NAME}: report"
    if run.export_dir and run.mode in WITH_EXPORT:
        yield f"{run.export_dir}: SavedModel"
    if setup.config.diagnostics.profile:
        yield f"{results}/plugins/profile/: trace"
