"""Contestants that run in this program's environment, each a process of its own.

``main`` reads a description in JSON from the command line: its "entry" is the name of a function below, the rest
are the arguments of that function.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.environment import environment_for
from runtime.tensorflow_import import load_tensorflow
from tools.measure.compare.protocol import WARMUP_STEPS, Turn, from_empty, next_turn, repeated, say, serve
from utils.cmdline_helper import parse


def main() -> None:
    """Runs the contestant that the command line describes."""
    description = json.loads(sys.argv[1])
    globals()[description.pop("entry")](**description)


def network(flags: Sequence[str], threads: int) -> None:
    """A network in the loop of a benchmark mode of ``main.py``, with an artefact of its own if --model_dir names one.

    Args:
        flags: Flags of ``main.py``, with the mode.
        threads: Number of threads.
    """
    with _set_up(flags, threads) as setup:
        (_train if setup.config.run.is_training else _infer)(setup)


@contextlib.contextmanager
def _set_up(flags: Sequence[str], threads: int) -> Any:
    """Yields the ``Setup`` of ``main.py --cpu`` with these flags, without an end, on a number of threads."""
    length = ("--iter_unit=batch", "--num_iter=1000000", "--warmup_steps=1", "--log_level=error", "--cpu")
    with tempfile.TemporaryDirectory() as empty:  # holds no checkpoint
        command = parse([*flags, *length, f"--results_dir={empty}"], os.environ)
        load_tensorflow(environment_for(command.config, os.environ))
        from runtime.setup.set_up import set_up_alone

        setup = set_up_alone(command.config)
        setup.session_config.intra_op_parallelism_threads = threads
        setup.session_config.inter_op_parallelism_threads = threads
        yield setup


def _train(setup: Any) -> None:
    from runtime.planning.plan import plan_training
    from runtime.stopping import Stopping
    from runtime.trainer import Trainer
    from utils.hooks.preemption import PreemptionHook
    from utils.hvd_utils import SerialCommunicator

    alone = SerialCommunicator()
    plan = plan_training(setup.config, setup.task.data.num_examples("train"), alone.size)
    with Trainer(setup, plan, alone, Stopping(PreemptionHook(), alone), None) as trainer:
        trainer.run(plan.total_steps, [_turns(_facts(setup, trainer.graph.size))])


def _infer(setup: Any) -> None:
    from runtime.evaluation import Evaluation
    from utils.hvd_utils import SerialCommunicator

    with contextlib.closing(Evaluation(setup, SerialCommunicator(), once=True)) as evaluation:
        if setup.checkpoint is not None:
            evaluation.load(setup.checkpoint)
        graph = evaluation.graph
        logits = {} if setup.config.detection else {"output": graph.network.endpoints["logits"].shape.as_list()}
        facts = _facts(setup, graph.network.size) | logits
        evaluation.run([_turns(facts)], batches=1_000_000, repeat=True)


def _facts(setup: Any, size: Any) -> dict[str, Any]:
    import tensorflow as tf

    runtime = f"TensorFlow {tf.__version__}" if setup.artefact is None else setup.artefact.runtime
    counted = {"parameters": size.parameters, "flops_per_image": size.flops} if setup.artefact is None else {}
    return {"version": runtime, "precision": setup.precision.name, **counted}


def _turns(facts: Mapping[str, Any]) -> Any:
    """A hook that stops the loop between turns, so that nothing is measured but the program's own loop."""
    from utils.hooks.hook import Hook, StepRecord

    class Turns(Hook):
        def __init__(self) -> None:
            self._left: int | None = WARMUP_STEPS
            self._turn: Turn | None = None

        def after_step(self, record: StepRecord) -> None:
            if self._left is None:
                return
            self._left -= 1
            if self._left == 0:
                self._wait()

        def _wait(self) -> None:
            if self._turn is None:
                say(facts)
            else:
                self._turn.end()
            self._left = next_turn()
            self._turn = Turn()

        @property
        def wants_stop(self) -> bool:
            return self._left is None

    return Turns()


def _options(threads: int) -> Any:
    """The options of a session on the CPU."""
    from utils.host_session import on_host

    return on_host(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)


def gemm(side: int, precision: str, threads: int) -> None:
    """The machine's peak: a product of two large square matrices in TensorFlow; a step is one product."""
    load_tensorflow()
    import tensorflow as tf

    tf1 = tf.compat.v1
    with tf.Graph().as_default():
        matrices = [tf.cast(tf.random.stateless_normal([side, side], [seed, 0]), precision) for seed in (1, 2)]
        left, right = (tf1.get_variable(f"m{i}", initializer=m, use_resource=True) for i, m in enumerate(matrices))
        operation = tf.matmul(left, right).op
        session = tf1.Session(config=_options(threads))
        session.run(tf1.global_variables_initializer())
    serve(repeated(lambda: session.run(operation)), {"version": f"TensorFlow {tf.__version__}", "precision": precision})


def training_input(data_dir: str, batch: int, image_size: int, threads: int, dali: bool) -> None:
    """The training input of ``main.py``, with its images normalized: tf.data's, or with DALI as the decoder."""
    load_tensorflow()
    import tensorflow as tf

    from utils.dali_utils import DaliReader
    from utils.data_utils import TensorFlowReader
    from utils.image_processing import normalize
    from utils.input.augmentation_specs import classification_steps
    from utils.input.batching import InputOptions, Position, Shard
    from utils.input.labelled_images import LABELLED_IMAGES
    from utils.records.split_files import load_split

    reader = DaliReader(None) if dali else TensorFlowReader()
    how = InputOptions(
        image_size=image_size, batch_size=batch, num_classes=1000, label_offset=1, seed=0, threads=threads,
        augmentation=classification_steps(min_crop_area=0.08, color_jitter=0.0),
    )  # fmt: skip
    graph = tf.Graph()
    with graph.as_default():
        stream = reader.train_input(load_split(data_dir, "train"), LABELLED_IMAGES, how, Shard(), Position())
        # Normalized in the graph, as in a training step. A group is computed, not optimized away or copied to Python.
        made = tf.group(normalize(stream.batch.images), stream.batch.index)
    session = tf.compat.v1.Session(graph=graph, config=_options(threads))
    session.run(stream.initializer)
    serve(from_empty(session.make_callable(made)), {"version": f"TensorFlow {tf.__version__}"})


def checkpoint(arch: str, folder: str) -> None:
    """Writes a checkpoint of a network with new weights, and ends."""
    with _set_up([f"--arch={arch}", "--mode=inference_benchmark", "--batch_size=1"], 1) as setup:
        from runtime.inference.network import opened_weights
        from utils.checkpoints import CheckpointDir

        with opened_weights(setup) as (session, weights):
            session.run(weights.initializer)
            Path(folder).mkdir(parents=True, exist_ok=True)
            CheckpointDir(Path(folder), 1).save(session, weights.saver, 0, {**setup.task.metadata, "step": 0})
