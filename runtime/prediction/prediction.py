"""Prediction on image files: a table on the console, ``predictions.json``, ``predictions.csv`` and pictures."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from runtime.evaluation import load_weights
from runtime.graphs import build_predict_graph
from runtime.inference.network import Weights
from runtime.inference.onednn import keeps_kernels
from runtime.loop import run_loop
from runtime.planning.model_size import NetworkSize
from runtime.prediction.images_to_predict import PICTURES
from runtime.prediction.pictures import Pictures, name_in_utf8
from runtime.prediction.prediction_input import Picture, Piece, PieceReader, count_pieces
from runtime.task import Presenter, Setup
from utils.console.screen import Screen
from utils.data_utils import image_input
from utils.errors import EXIT_DONE, EXIT_SOME_SKIPPED, RunError
from utils.files.atomic_file import write_atomically
from utils.files.csv_table import csv_table
from utils.hooks.hook import Hook, StepRecord
from utils.hooks.progress import ProgressHook
from utils.hvd_utils import Communicator
from utils.images.image_files import passed_over
from utils.images.tiles import Tile
from utils.input.batching import STATUS_OK, STATUS_PADDING

tf1 = tf.compat.v1
_log = logging.getLogger(__name__)

PREDICTIONS, PREDICTIONS_TABLE = "predictions.json", "predictions.csv"
UNDECODABLE = "the image does not decode"
OF_FRAMES = ("frame", "time_s")
"""Entries of a row, and columns of the table, where there are videos."""


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
    reader = PieceReader(files, numbers, setup.config.prediction)
    graph = tf.Graph()
    with graph.as_default():
        data = image_input(reader, setup.task.data.preprocess, setup.task.data.input_options())
    predict = build_predict_graph(setup.task, data, communicator, constant=keeps_kernels(setup))
    introduce(predict.network.size)
    rows = _RowsHook(setup, reader)
    with tf1.Session(graph=graph, config=setup.session_config) as session:
        restore = functools.partial(_restore, setup) if communicator.rank == 0 else None
        predict.network.load(session, setup.session_config, restore)
        session.run(data.initializer)
        progress = ProgressHook(screen, "predict", last=_batches(setup, [files[number] for number in numbers]))
        run_loop(session, predict, [rows, progress, stop], start=0, last=None)
    found_rows = {key: row for part in communicator.gather(rows.rows) for key, row in part.items()}
    predicted = [found_rows[key] for key in sorted(found_rows)]
    if communicator.rank == 0:
        presenter = setup.task.presenter
        _write(Path(run.results_dir), predicted, presenter)
        screen.table([(_label(row), _shown(row, presenter)) for row in predicted])
    return _status(predicted)


def _status(predicted: Sequence[Mapping[str, Any]]) -> int:
    files, failed = {row["file"] for row in predicted}, {row["file"] for row in predicted if "error" in row}
    if failed:
        _log.warning("%d of %d files could not be read; they are listed with their reasons", len(failed), len(files))
    return EXIT_SOME_SKIPPED if failed else EXIT_DONE


def _restore(setup: Setup, session: Any, weights: Weights) -> None:
    prefix = setup.required_checkpoint
    _, table = load_weights(session, weights, prefix, setup.config.moving_average.eval_weights)
    _log.info("%s:\n%s", prefix, table)


def _batches(setup: Setup, files: Sequence[Path]) -> int | None:
    """The number of batches for the files of a process; None with videos."""
    pieces = count_pieces(files, setup.config.prediction.tiling)
    return None if pieces is None else -(-pieces // setup.config.data.batch_size_per_replica)


class _RowsHook(Hook):
    """Converts batches of predictions to one row per picture, by the picture's key.

    Args:
        setup: What predicts, and what for.
        reader: The reader of the pictures.
    """

    def __init__(self, setup: Setup, reader: PieceReader) -> None:
        self._setup = setup
        self._files = setup.required_images.images
        self._reader = reader
        draws = setup.task.presenter.draws
        self._pictures = Pictures(Path(setup.config.run.results_dir) / PICTURES, self._files) if draws else None
        self._found: list[tuple[Tile, dict[str, np.ndarray] | None]] = []
        self.rows: dict[tuple[int, int], dict[str, Any]] = {}

    def after_step(self, record: StepRecord) -> None:
        values = dict(record.values)
        for place, (status, index) in enumerate(zip(values.pop("status"), values.pop("index"), strict=True)):
            if status != STATUS_PADDING:
                good = status == STATUS_OK
                arrays = {name: array[place] for name, array in values.items()} if good else None
                self._add(self._reader.take(int(index)), arrays)

    def _add(self, piece: Piece, arrays: dict[str, np.ndarray] | None) -> None:
        """Adds the predictions for a piece, None if it could not be read; the last piece ends its picture's row."""
        self._found.append((piece.tile, arrays))
        if not piece.is_last:
            return
        found, self._found = self._found, []
        picture = piece.picture
        row: dict[str, Any] = {"file": name_in_utf8(self._files[picture.file])}
        if picture.frame is not None:
            time_s = None if picture.time_s is None else round(picture.time_s, 6)
            row |= dict(zip(OF_FRAMES, (picture.frame, time_s), strict=True))
        tiles, parts = [tile for tile, _ in found], [arrays for _, arrays in found if arrays is not None]
        if len(parts) < len(tiles):
            row["error"] = picture.error or UNDECODABLE
        else:
            if self._setup.config.prediction.tiling is not None:
                row["tiles"] = len(tiles)
            merge = self._setup.task.merge_tiles
            whole = parts[0] if merge is None or len(parts) == 1 else merge(parts, tiles)
            self._add_predictions(row, picture, whole)
        self.rows[picture.key] = row

    def _add_predictions(self, row: dict[str, Any], picture: Picture, arrays: Mapping[str, np.ndarray]) -> None:
        presenter = self._setup.task.presenter
        entries = row["predictions"] = presenter.entries(arrays, picture.size_px)
        if self._pictures is not None and (picture.frame is None or picture.encoded):
            frame = None if picture.frame is None else (picture.frame, picture.encoded)
            row["picture"] = self._pictures.draw(picture.file, entries, presenter, frame)


def _write(folder: Path, rows: Sequence[dict[str, Any]], presenter: Presenter) -> None:
    of_frames = OF_FRAMES if any(OF_FRAMES[0] in row for row in rows) else ()
    table: list[list[Any]] = [["file", *of_frames, "error", *presenter.columns]]
    for row in rows:
        place = [row["file"], *(row.get(name, "") for name in of_frames), row.get("error", "")]
        for cells in presenter.rows(row.get("predictions", ())) or [[]]:
            table.append([*place, *cells])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / PREDICTIONS, json.dumps(rows, indent=1, ensure_ascii=False).encode())
        write_atomically(folder / PREDICTIONS_TABLE, csv_table(table))
    except OSError as error:
        raise RunError(f"--results_dir {folder}: predictions cannot be written: {error.strerror}") from error


def _shown(row: Mapping[str, Any], presenter: Presenter) -> str:
    """The predictions for a file on one line, or the reason why there are none."""
    return presenter.line(row["predictions"]) if "predictions" in row else f"not read: {row['error']}"


def _label(row: Mapping[str, Any]) -> str:
    """The file of a row, and the frame in a video."""
    return f"{row['file']} frame {row['frame']}" if "frame" in row else str(row["file"])
