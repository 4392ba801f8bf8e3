"""Trials of batches: real steps on synthetic images, in a process apart from the run (no TF until it serves).

The run's own memory thus stays as it would be without the trials, and a batch that is too large ends only the trial.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import logging
import os
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.tensorflow_import import load_tensorflow
from utils.config import ExperimentConfig
from utils.data_config import DataConfig
from utils.errors import RunError, UsageError, reason
from utils.hvd_utils import SerialCommunicator
from utils.system.machine import peak_resident_bytes, resident_bytes
from utils.system.worker_pool import begin_worker

if TYPE_CHECKING:
    from runtime.task import Setup

GPU_SHARE = 0.95
"""The part of its GPU's memory that a trial may take."""
OUTGREW = 77
"""Exit status of a trial that took more memory than it may."""
_STEPS = 2  # the second one has everything that the first one left behind
_LOOK_EVERY_S = 0.01
_FIRST_TO_GO = "1000"  # where the kernel must end a process for want of memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The part of its machine that one of the processes of a run may take.

    Attributes:
        processes: The number of processes of the run.
        local_rank: Number of this one among those on its host.
        threads: Threads that it may keep busy.
        room: Bytes of memory that it may take.
    """

    processes: int
    local_rank: int
    threads: int
    room: float


@dataclass(frozen=True, slots=True)
class Ready:
    """The first answer of a trial: how many images there are for a step of one process, and whether it has a GPU.

    ``images`` is None for synthetic images, of which there are any number.
    """

    images: int | None
    on_gpu: bool


def serve(answers: Connection, config: ExperimentConfig, share: Share) -> None:
    """Tries the batches that it is asked for until one does not fit or nobody asks any more.

    It sends ``Ready``, then for each batch the bytes that it needs (0 on a GPU, whose memory tells only whether they
    sufficed) or None if it does not fit, or an error that would end the run, too.

    Args:
        answers: Receives batches and sends answers.
        config: The configuration of the run.
        share: What the trial may take.
    """
    begin_worker()
    _be_silent()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO, encoding="ascii")
    threading.Thread(target=_end_beyond, args=(share.room,), daemon=True).start()
    load_tensorflow({})  # its environment is that of the run
    with contextlib.suppress(EOFError):
        try:
            trial = BatchTrial(config, share)
            answers.send(Ready(trial.images, trial.on_gpu))
            while True:
                answers.send(trial.need(answers.recv()))
        except (UsageError, RunError) as error:
            answers.send(error)


def _be_silent() -> None:
    """Drops messages: the run has those that concern the user."""
    logging.disable(logging.CRITICAL)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)


def _end_beyond(room: float) -> None:
    """Ends this process as soon as it takes more memory than it may."""
    while resident_bytes() <= room:
        time.sleep(_LOOK_EVERY_S)
    os._exit(OUTGREW)


class BatchTrial:
    """Tries batches in this process.

    Args:
        config: The configuration of the run; its batch does not count.
        share: What the trial may take.

    Raises:
        UsageError: The run would refuse its flags.
        RunError: The run would fail before its first step.
    """

    def __init__(self, config: ExperimentConfig, share: Share) -> None:
        from runtime.session import uses_gpu
        from runtime.setup.set_up import set_up

        self._share = share
        self._alone = SerialCommunicator()
        self._alone.threads = share.threads
        self._setup = set_up(_on_own_gpu(_of_one_size(_with_batch(config, 1)), share), self._alone, writes=False)
        if share.processes > 1:
            options = self._setup.session_config
            options.intra_op_parallelism_threads = options.inter_op_parallelism_threads = share.threads
        self.on_gpu = uses_gpu(self._setup.config)
        self.images = _images_of_a_step(self._setup, share.processes)

    def need(self, batch: int) -> float | None:
        """Takes a few steps with a batch; returns the bytes that it needs, 0 on a GPU, or None if it does not fit.

        Raises:
            RunError: A step fails for another reason than memory.
        """
        import tensorflow as tf

        from runtime.devices.errors import device_failure
        from runtime.planning.facts import input_bytes

        whole = _setup_with_batch(self._setup, batch)
        data: Any = whole.task.data
        task = dataclasses.replace(whole.task, data=dataclasses.replace(data, splits={}))
        synthetic = dataclasses.replace(whole, task=task)
        try:
            exchanged = self._train(synthetic) if whole.config.run.is_training else self._evaluate(synthetic)
        except MemoryError:
            return None
        except tf.errors.OpError as error:
            if isinstance(error, tf.errors.ResourceExhaustedError) or (self.on_gpu and device_failure(error)):
                return None
            raise RunError(f"--batch_size auto: a trial step fails: {reason(error)}") from error
        gc.collect()  # the graph of the trial
        need = peak_resident_bytes() + input_bytes(whole) + exchanged
        if need > self._share.room:
            return None
        return 0.0 if self.on_gpu else need

    def _train(self, setup: Setup) -> float:
        """Trains, and evaluates if the run does; returns the bytes that several processes need to exchange gradients.

        All-reduce copies the gradients into vectors and receives their mean; no trial exchanges any.
        """
        from runtime.evaluation import Evaluation
        from runtime.planning.plan import plan_training
        from runtime.stopping import Stopping
        from runtime.trainer import Trainer
        from utils.hooks.preemption import PreemptionHook

        config, alone = setup.config, self._alone
        with contextlib.ExitStack() as opened:
            evaluation = None
            if config.run.mode == "train_and_evaluate":
                evaluation = opened.enter_context(contextlib.closing(Evaluation(setup, alone)))
            plan = plan_training(config, setup.task.data.num_examples("train"), 1)
            trainer = opened.enter_context(Trainer(setup, plan, alone, Stopping(PreemptionHook(), alone), None))
            trainer.run(trainer.step + _STEPS, [])
            if evaluation is not None:
                evaluation.run([], 1)
            weights = trainer.graph.graph.get_collection("trainable_variables")
            gradients = sum(v.shape.num_elements() * v.dtype.size for v in weights)
        return 2.0 * gradients if self._share.processes > 1 else 0.0

    def _evaluate(self, setup: Setup) -> float:
        """Evaluates as the run does; predictions are the outputs of an evaluation."""
        from runtime.evaluation import Evaluation

        once = not setup.config.run.watch_checkpoints
        with contextlib.closing(Evaluation(setup, self._alone, once=once)) as evaluation:
            if setup.checkpoint is not None:
                evaluation.load(setup.checkpoint)
            evaluation.run([], _STEPS, repeat=True)
        return 0.0


def _with_batch(config: ExperimentConfig, batch: int) -> ExperimentConfig:
    return _with_data(config, batch_size_per_replica=batch, auto_batch=False)


def _with_data(config: ExperimentConfig, **fields: Any) -> ExperimentConfig:
    data: DataConfig = dataclasses.replace(config.data, **fields)
    return dataclasses.replace(config, data=data)


def _setup_with_batch(setup: Setup, batch: int) -> Setup:
    config = _with_batch(setup.config, batch)
    data: Any = setup.task.data
    task = dataclasses.replace(setup.task, data=dataclasses.replace(data, config=config))
    return dataclasses.replace(setup, config=config, task=task)


def _of_one_size(config: ExperimentConfig) -> ExperimentConfig:
    """The configuration with training images of the largest size of the run."""
    sizes = config.data.progressive_sizes
    if not sizes:
        return config
    return _with_data(config, progressive_sizes=(), train_image_size=max(each.size for each in sizes))


def _on_own_gpu(config: ExperimentConfig, share: Share) -> ExperimentConfig:
    """The configuration for the GPU that this process of the run will use, and a part of its memory."""
    import tensorflow as tf

    gpus = [] if config.run.cpu else tf.config.list_physical_devices("GPU")
    if not gpus:
        return config
    several = share.processes > 1 and len(gpus) > 1
    run = dataclasses.replace(
        config.run,
        gpu_id=share.local_rank if several else config.run.gpu_id,
        gpu_memory_fraction=GPU_SHARE * (config.run.gpu_memory_fraction or 1.0),
    )
    return dataclasses.replace(config, run=run)


def _images_of_a_step(setup: Setup, processes: int) -> int | None:
    """The number of images that there are for a step of one process, at least 1; None if they are synthetic."""
    config, data = setup.config, setup.task.data
    if setup.images is not None:
        return max(1, -(-len(setup.images.images) // processes))
    if not setup.splits:
        return None
    if config.run.is_training:
        return max(1, data.num_examples("train") // (processes * config.optimizer.accumulate_steps))
    return max(1, -(-data.num_examples("validation") // processes))
