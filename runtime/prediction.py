"""Prediction on image files: a table on the console, ``predictions.json``, ``predictions.csv`` and pictures."""

from __future__ import annotations

import functools
import json
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from runtime.evaluation import load_weights
from runtime.graphs import build_predict_graph
from runtime.images_to_predict import PICTURES
from runtime.inference_network import Weights
from runtime.loop import run_loop
from runtime.model_size import NetworkSize
from runtime.onednn import keeps_kernels
from runtime.pictures import Pictures, name_in_utf8
from runtime.task import Presenter, Setup
from utils.console.screen import Screen
from utils.data_utils import image_input
from utils.errors import EXIT_DONE, EXIT_SOME_SKIPPED, RunError
from utils.files.atomic_file import write_atomically
from utils.files.csv_table import csv_table
from utils.hooks.hook import Hook, StepRecord
from utils.hooks.progress import ProgressHook
from utils.hvd_utils import Communicator
from utils.images.image_files import UnreadableImage, load_rgb, passed_over
from utils.input.batching import STATUS_OK, STATUS_PADDING

tf1 = tf.compat.v1
_log = logging.getLogger(__name__)

READERS = 4
READ_AHEAD = 64
PREDICTIONS, PREDICTIONS_TABLE = "predictions.json", "predictions.csv"
UNDECODABLE = "the image does not decode"


def predict_files(
    setup: Setup,
    communicator: Communicator,
    stop: Hook,
    introduce: Callable[[NetworkSize], None],
    screen: Screen,
) -> int:
    """Predicts on the images of ``--to_predict`` and writes the results to ``--results_dir``.

    Args:
        setup: The resolved launch.
        communicator: The processes that share the files; rank 0 reads the weights and writes the tables.
        stop: May request an early stop.
        introduce: Shows what runs, once the size of the network is known.
        screen: Shows the predictions.

    Returns:
        The exit status: 3 if a file could not be read.
    """
    run = setup.config.run
    found = setup.required_images
    files = found.images
    if found.others and communicator.rank == 0:
        _log.info("--to_predict %s: %s", run.to_predict, passed_over(found.others))
    numbers = range(communicator.rank, len(files), communicator.size)
    reader = _Reader([files[number] for number in numbers])
    graph = tf.Graph()
    with graph.as_default():
        data = image_input(reader, setup.task.data.preprocess, setup.task.data.input_options())
    predict = build_predict_graph(setup.task, data, communicator, constant=keeps_kernels(setup))
    introduce(predict.network.size)
    presenter = setup.task.presenter
    pictures = Pictures(Path(run.results_dir) / PICTURES, files) if presenter.draws else None
    rows = _RowsHook(files, numbers, reader, presenter, pictures)
    with tf1.Session(graph=graph, config=setup.session_config) as session:
        restore = functools.partial(_restore, setup) if communicator.rank == 0 else None
        predict.network.load(session, setup.session_config, restore)
        session.run(data.initializer)
        progress = ProgressHook(screen, "predict", last=-(-len(numbers) // setup.config.data.batch_size_per_replica))
        run_loop(session, predict, [rows, progress, stop], start=0, last=None)
    by_number = {number: row for part in communicator.gather(rows.rows) for number, row in part.items()}
    predicted = [by_number[number] for number in sorted(by_number)]
    if communicator.rank == 0:
        _write(Path(run.results_dir), predicted, presenter)
        screen.table([(row["file"], _shown(row, presenter)) for row in predicted])
    return _status(predicted)


def _status(predicted: Sequence[Mapping[str, Any]]) -> int:
    failed = sum("error" in row for row in predicted)
    if failed:
        _log.warning("%d of %d files could not be read; they are listed with their reasons", failed, len(predicted))
    return EXIT_SOME_SKIPPED if failed else EXIT_DONE


def _restore(setup: Setup, session: Any, weights: Weights) -> None:
    prefix = setup.required_checkpoint
    _, table = load_weights(session, weights, prefix, setup.config.moving_average.eval_weights)
    _log.info("%s:\n%s", prefix, table)


class _Reader:
    """Reads files ahead in threads and yields their encoded images in order; empty bytes for unreadable ones."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self.reasons: dict[int, str] = {}
        self.sizes: dict[int, tuple[int, int]] = {}
        """Height and width in pixels of the images read so far."""

    def __iter__(self) -> Iterator[bytes]:
        with ThreadPoolExecutor(READERS) as pool:
            pending: deque[Future[bytes]] = deque()
            for number in range(len(self._files)):
                pending.append(pool.submit(self._read, number))
                if len(pending) > READ_AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def _read(self, number: int) -> bytes:
        try:
            image = load_rgb(self._files[number])
            self.sizes[number] = (image.height, image.width)
            return image.data
        except UnreadableImage as error:
            self.reasons[number] = error.reason
            return b""


class _RowsHook(Hook):
    """Converts batches of predictions to one row per file, by the number of the file.

    Args:
        files: All files.
        numbers: Numbers of the files that the reader reads.
        reader: The reader of the files.
        presenter: Formats predictions.
        pictures: Draws predictions, or None.
    """

    def __init__(
        self,
        files: Sequence[Path],
        numbers: Sequence[int],
        reader: _Reader,
        presenter: Presenter,
        pictures: Pictures | None,
    ) -> None:
        self._files = files
        self._numbers = numbers
        self._reader = reader
        self._presenter = presenter
        self._pictures = pictures
        self.rows: dict[int, dict[str, Any]] = {}

    def after_step(self, record: StepRecord) -> None:
        values = dict(record.values)
        for place, (status, index) in enumerate(zip(values.pop("status"), values.pop("index"), strict=True)):
            if status == STATUS_PADDING:
                continue
            number = self._numbers[int(index)]
            row: dict[str, Any] = {"file": name_in_utf8(self._files[number])}
            if status == STATUS_OK:
                self._add_predictions(row, int(index), {name: array[place] for name, array in values.items()})
            else:
                row["error"] = self._reader.reasons.get(int(index), UNDECODABLE)
            self.rows[number] = row

    def _add_predictions(self, row: dict[str, Any], index: int, arrays: Mapping[str, np.ndarray]) -> None:
        entries = row["predictions"] = self._presenter.entries(arrays, self._reader.sizes.pop(index))
        if self._pictures is not None:
            row["picture"] = self._pictures.draw(self._numbers[index], entries, self._presenter)


def _write(folder: Path, rows: Sequence[dict[str, Any]], presenter: Presenter) -> None:
    table: list[list[Any]] = [["file", "error", *presenter.columns]]
    for row in rows:
        for cells in presenter.rows(row.get("predictions", ())) or [[]]:
            table.append([row["file"], row.get("error", ""), *cells])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / PREDICTIONS, json.dumps(rows, indent=1, ensure_ascii=False).encode())
        write_atomically(folder / PREDICTIONS_TABLE, csv_table(table))
    except OSError as error:
        raise RunError(f"--results_dir {folder}: predictions cannot be written: {error.strerror}") from error


def _shown(row: Mapping[str, Any], presenter: Presenter) -> str:
    """The predictions for a file on one line, or the reason why there are none."""
    return presenter.line(row["predictions"]) if "predictions" in row else f"not read: {row['error']}"
