"""The plan of a run: ``--dry_run`` sets a run up, loads its weights, prints what it would do, and writes nothing.

Everything up to the first step happens as in the run, with one exception: synthetic images of the same shape take the
place of the data, because some inputs write index files. Index files that the user names are checked as in the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from runtime.artefacts.exporting import check_folder
from runtime.batch_size.auto_batch import set_up_with_batch
from runtime.evaluation import Evaluation, load_weights
from runtime.inference.network import inference_network
from runtime.planning.advice import advice
from runtime.planning.facts import memory_needed, regular_evaluation
from runtime.planning.memory_estimate import GraphMemory, graph_memory
from runtime.planning.model_size import NetworkSize
from runtime.planning.plan import batches_to_evaluate, measured_warmup, plan_training
from runtime.prediction.prediction_input import planned
from runtime.reporting.outputs import planned_files
from runtime.reporting.run_facts import facts_of_setup, facts_of_training
from runtime.stopping import Stopping
from runtime.task import Setup
from runtime.trainer import Trainer
from utils.checkpoints import CheckpointDir, find_checkpoint
from utils.cmdline_helper import Command
from utils.config import EMA, RunConfig
from utils.console.screen import Rows, Screen
from utils.dllogger_utils import check_log
from utils.errors import EXIT_DONE, EXIT_PREEMPTED
from utils.hooks.preemption import PreemptionHook
from utils.hvd_utils import Communicator, communicator
from utils.image_processing import CHANNELS
from utils.image_sizes import sides_of
from utils.records.record_index import split_index
from utils.system.machine import resident_bytes
from utils.text import plural

tf1 = tf.compat.v1
HEADING = "The plan of this command (--dry_run); nothing is run and nothing is written:"
_LABEL_COLUMNS = 15
_AVERAGES = "the exponential moving averages of the weights are used"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A run that is ready for its first step.

    Attributes:
        size: The size of its network.
        rows: The steps to come.
        graphs: The memory of each of its graphs.
        program: Bytes that the process occupies with its graphs, before they hold any values.
        advice: Sentences about values that do not fit the run.
    """

    size: NetworkSize
    rows: Rows
    graphs: list[GraphMemory]
    program: int
    advice: Sequence[str] = ()


def dry_run(command: Command, preemption: PreemptionHook, screen: Screen) -> int:
    """Prints the plan of a run and returns the exit status.

    Raises:
        UsageError: The run would refuse its flags.
        RunError: The run would fail before its first step.
    """
    run = command.config.run
    processes = communicator(os.environ, fp16_compression=command.config.distributed.fp16_compression)
    leads = processes.rank == 0
    if not leads or run.log_level == "info":  # tables of loaded weights are no part of a plan
        logging.getLogger().setLevel(logging.WARNING if leads else logging.CRITICAL)
    if leads:
        check_log(run.log_path)
    if run.watch_checkpoints and find_checkpoint(Path(run.checkpoint_dir)) is None:
        _show(screen, [("Weights", f"waits for the first checkpoint in {run.checkpoint_dir}")])
        return EXIT_DONE
    setup = set_up_with_batch(command.config, processes, preemption, writes=False)
    if setup is None:
        return EXIT_PREEMPTED
    if leads:
        _check_folders(setup.config.run)
    prepare = _training if run.is_training else _prediction if run.mode == "predict" else _evaluation
    prepared = prepare(setup, processes, Stopping(preemption, processes))
    if leads:
        memory = memory_needed(setup, prepared.graphs, prepared.program)
        memory += f"; in each of {processes.size} processes" if processes.size > 1 else ""
        facts = dict(facts_of_setup(setup, prepared.size, processes.size)) | dict(prepared.rows)
        if run.seed is None and "seed" not in setup.metadata:
            facts["Seed"] = "random"
        misfits = [("Advice", command.spelled("\n".join(prepared.advice)))] if prepared.advice else []
        written = ("Writes", planned_files(setup.config, processes.size))
        _show(screen, [*facts.items(), ("Memory", memory), written, *misfits])
    return EXIT_DONE


def _show(screen: Screen, rows: Rows) -> None:
    if screen.is_readable:
        screen.header(rows, HEADING)
        return
    print(HEADING)
    for label, text in rows:
        for number, line in enumerate(text.splitlines()):
            print(f"{'' if number else label:<{_LABEL_COLUMNS}}{line}")


def _check_folders(run: RunConfig) -> None:
    """Refuses the folders that ``Runner`` would refuse, in its order."""
    if run.export_dir:
        check_folder(Path(run.export_dir))
    if run.is_training and not run.is_benchmark:
        CheckpointDir(Path(run.checkpoint_dir), run.keep_checkpoints).check()


def _with_synthetic_data(setup: Setup, split: str) -> Setup:
    """The setup of a graph that would read a split, without its data.

    Raises:
        RunError: The folder of ``--data_idx_dir`` lacks an index, or an index does not belong to its records.
    """
    data: Any = setup.task.data
    index_dir = setup.config.data.index_dir
    if index_dir is not None and split in setup.splits:
        split_index(setup.splits[split], index_dir)
    return dataclasses.replace(setup, task=dataclasses.replace(setup.task, data=dataclasses.replace(data, splits={})))


def _opened_evaluation(setup: Setup, processes: Communicator) -> contextlib.closing[Evaluation]:
    return contextlib.closing(Evaluation(_with_synthetic_data(setup, "validation"), processes))


def _training(setup: Setup, processes: Communicator, stopping: Stopping) -> Prepared:
    config, graphs = setup.config, []
    with contextlib.ExitStack() as opened:
        if config.run.mode == "train_and_evaluate":
            evaluation = opened.enter_context(_opened_evaluation(setup, processes))
            graphs.append(graph_memory(evaluation.graph.network.held, evaluation.graph.fetches()))
        plan = plan_training(config, setup.task.data.num_examples("train"), processes.size)
        trainer = Trainer(_with_synthetic_data(setup, "train"), plan, processes, stopping, None)
        program = resident_bytes()
        opened.enter_context(trainer)
        largest = max(plan.stages, key=lambda stage: stage.size, default=None)
        graph = trainer.graph if largest in (None, plan.stage(trainer.step)) else trainer.graph_of(largest)
        taught = () if setup.teacher is None else setup.teacher.held
        graphs.append(graph_memory((*graph.variables, *taught), graph.fetches()))
        last = plan.last_step(config, trainer.step)
        measured_warmup(config, last - trainer.step)
        rows = facts_of_training(config, plan, trainer.step, last)
        if config.run.mode == "train_and_evaluate":
            rows = [*rows, ("Evaluation", regular_evaluation(setup))]
        misfits = advice(config, plan, resumed=trainer.step > 0)
        return Prepared(size=trainer.graph.size, rows=rows, graphs=graphs, program=program, advice=misfits)


def _evaluation(setup: Setup, processes: Communicator, stopping: Stopping) -> Prepared:
    config, prefix = setup.config, setup.checkpoint
    examples = setup.task.data.num_examples("validation")
    with _opened_evaluation(setup, processes) as evaluation:
        program = resident_bytes()
        if prefix is not None:
            evaluation.load(prefix)
        batches = batches_to_evaluate(config, examples, processes.size)
        measured_warmup(config, batches)
        images = plural(config.data.batch_size_per_replica * processes.size, "image")
        rows = [("Plan", f"{plural(batches, 'batch')} of {images}")]
        if evaluation.weights == EMA:
            rows.append(("Averages", _AVERAGES))
        memory = [graph_memory(evaluation.graph.network.held, evaluation.graph.fetches())]
        return Prepared(size=evaluation.graph.network.size, rows=rows, graphs=memory, program=program)


def _prediction(setup: Setup, processes: Communicator, stopping: Stopping) -> Prepared:
    files, options = setup.required_images.images, setup.task.data.input_options()
    graph = tf.Graph()
    with graph.as_default():
        shape = [options.batch_size, *sides_of(options.image_size), CHANNELS]
        images = tf1.placeholder(tf.float32, shape)
    network = inference_network(setup.task, images, processes, constant=False)
    weights = network.weights
    with graph.as_default():
        predictions = setup.task.post_processing.predictions(network.endpoints)
    program, chosen = resident_bytes(), ""
    if processes.rank == 0 and weights.variables:
        with tf1.Session(graph=weights.graph, config=setup.session_config) as session:
            which = setup.config.moving_average.eval_weights
            chosen, _ = load_weights(session, weights, setup.required_checkpoint, which)
    rows = [("Plan", planned(files, setup.config.prediction, options.batch_size, processes.size))]
    if chosen == EMA:
        rows.append(("Averages", _AVERAGES))
    memory = [graph_memory(network.held, predictions)]
    return Prepared(size=network.size, rows=rows, graphs=memory, program=program)
