"""The files that runs write: one table for the plan of a run, the last lines of the console, and the documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime.prediction.images_to_predict import PICTURES
from runtime.prediction.prediction import PREDICTIONS, PREDICTIONS_TABLE
from utils.config import MODES, TRAINING_MODES, ExperimentConfig
from utils.console.figures import plain_name
from utils.console.screen import Rows
from utils.data_config import INDEX
from utils.flags.table import LONG_TRAINING, WITH_EXPORT, WITH_REPORT, WITH_STEPS
from utils.optimizer_config import BALANCED
from utils.records.label_index import LABEL_FOLDER
from utils.records.record_index import INDEX_FOLDER
from utils.reporting.evaluation_file import EVALUATION_NAME
from utils.reporting.event_file import EVALUATIONS, EVENT_FILES
from utils.reporting.run_log import LOG_NAME
from utils.reporting.run_page import REPORT_NAME
from utils.text import plural
from utils.weights.checkpoint_files import BEST, steps_in
from utils.weights.description import PREFIX

TENSORBOARD = "TensorBoard"
_STEP = f"{PREFIX}-STEP"
_TRACE = "trace-FROM-TO.json.gz"
_DETECTIONS = "detections.json"
_EVALUATED = ("train_and_evaluate", "evaluate")
_PREDICTED = ("predict",)

Place = Callable[[ExperimentConfig], Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A file or folder that runs write.

    Attributes:
        name: Its name in the documents; STEP, FROM and TO stand for numbers.
        label: Its label in the last lines of the console.
        what: Its content.
        modes: The modes that write it.
        place: Its path in a run, with STEP, FROM and TO.
        condition: What a run needs besides the mode, in words.
        needs: Returns whether a run of a number of processes has it.
        detail: What the plan adds to its content.
    """

    name: str
    label: str
    what: str
    modes: tuple[str, ...]
    place: Place
    condition: str = ""
    needs: Callable[[ExperimentConfig, int], bool] = lambda config, processes: True
    detail: Callable[[ExperimentConfig], str] = lambda config: ""

    @property
    def when(self) -> str:
        """The modes that write it and the condition, for the documents."""
        others = [mode for mode in MODES if mode not in self.modes]
        names = ", ".join(f"`{mode}`" for mode in self.modes)
        modes = names if len(others) > 1 else "every mode" + "".join(f" but `{mode}`" for mode in others)
        return f"{modes}; {self.condition}" if self.condition else modes

    def found(self, config: ExperimentConfig) -> Iterator[Path]:
        """The newest of these files that exists."""
        place = self.place(config)
        if place.name == _STEP:
            yield from (place.with_name(f"{PREFIX}-{step}") for step in steps_in(place.parent)[-1:])
        elif place.name in (_TRACE, EVENT_FILES):
            names = place.name.replace("FROM-TO", "*")
            yield from sorted(place.parent.glob(names), key=lambda path: path.stat().st_mtime_ns)[-1:]
        elif place.exists():
            yield place


def _results(name: str) -> Place:
    return lambda config: Path(config.run.results_dir) / name


def _checkpoints(name: str) -> Place:
    return lambda config: Path(config.run.checkpoint_dir) / name


def _events(config: ExperimentConfig) -> Path:
    """The folder to start TensorBoard on."""
    return Path(config.run.checkpoint_dir if config.run.is_training else config.run.results_dir)


def _records(config: ExperimentConfig) -> Path:
    data = config.data
    return Path(data.data_dir) if data.data_dir else Path((*data.train_files, *data.validation_files, "")[0]).parent


def _makes_index(config: ExperimentConfig, processes: int) -> bool:
    data = config.data
    reads = bool(data.data_dir or data.train_files or data.validation_files)
    shuffles = config.run.is_training and data.shuffle == INDEX
    return reads and data.index_dir is None and (data.source == "dali" or processes > 1 or shuffles)


def _detects(config: ExperimentConfig, processes: int) -> bool:
    return config.detection is not None


def _how_often(config: ExperimentConfig) -> str:
    every = plural(config.run.checkpoint_every, "step")
    return f", every {every} and at the end; the last {config.run.keep_checkpoints} stay"


OUTPUTS = (
    Output(
        name=f"{_STEP}.*",
        label="checkpoint",
        what="checkpoints",
        modes=LONG_TRAINING,
        place=_checkpoints(_STEP),
        detail=_how_often,
    ),
    Output(
        name=f"{BEST}/",
        label="best",
        what="best checkpoint",
        modes=("train_and_evaluate",),
        place=_checkpoints(f"{BEST}/{_STEP}"),
    ),
    Output(
        name="EXPORT_DIR/",
        label="export",
        what="SavedModel",
        modes=WITH_EXPORT,
        place=lambda config: Path(config.run.export_dir or ""),
        condition="with `--export_dir`",
        needs=lambda config, processes: config.run.export_dir is not None,
    ),
    *(
        Output(name=name, label="predictions", what=what, modes=_PREDICTED, place=_results(name))
        for name, what in ((PREDICTIONS, "predictions"), (PREDICTIONS_TABLE, "predictions as a table"))
    ),
    Output(
        name=f"{PICTURES}/",
        label="predictions",
        what="images with boxes",
        modes=_PREDICTED,
        place=_results(PICTURES),
        condition="detectors",
        needs=_detects,
    ),
    Output(name=LOG_NAME, label="log", what="log, appended", modes=MODES, place=lambda config: config.run.log_path),
    Output(
        name=REPORT_NAME,
        label="report",
        what="report",
        modes=WITH_REPORT,
        place=_results(REPORT_NAME),
        condition="without `--no_report`",
        needs=lambda config, processes: config.run.report,
    ),
    Output(
        name=EVALUATION_NAME,
        label="evaluation",
        what="details of the last evaluation",
        modes=_EVALUATED,
        place=_results(EVALUATION_NAME),
    ),
    Output(
        name=_DETECTIONS,
        label="detections",
        what="detections in COCO's format",
        modes=_EVALUATED,
        place=_results(_DETECTIONS),
        condition="detectors",
        needs=_detects,
    ),
    Output(
        name=EVENT_FILES,
        label=TENSORBOARD,
        what="curves of training for TensorBoard",
        modes=LONG_TRAINING,
        place=_checkpoints(EVENT_FILES),
    ),
    Output(
        name=f"{EVALUATIONS}/",
        label=TENSORBOARD,
        what="curves and images of evaluations for TensorBoard",
        modes=_EVALUATED,
        place=lambda config: _events(config) / EVALUATIONS / EVENT_FILES,
    ),
    *(
        Output(
            name=name,
            label="trace",
            what=what,
            modes=WITH_STEPS,
            place=_results(name),
            condition="with `--profile`",
            needs=lambda config, processes: config.diagnostics.profile is not None,
        )
        for name, what in ((_TRACE, "trace for trace viewers"), ("plugins/profile/", "trace for TensorBoard"))
    ),
    Output(
        name=f"{INDEX_FOLDER}/",
        label="index",
        what="index of the records, made once beside them or in the user's cache",
        modes=WITH_STEPS,
        place=lambda config: _records(config) / INDEX_FOLDER,
        condition="with `--dali`, several processes or `--shuffle=index`, without `--data_idx_dir`",
        needs=_makes_index,
    ),
    Output(
        name=f"{LABEL_FOLDER}/",
        label="labels",
        what="labels of the records, read once and kept beside them or in the user's cache",
        modes=TRAINING_MODES,
        place=lambda config: _records(config) / LABEL_FOLDER,
        condition="with `--class_weights=balanced` or `--balanced_sampling`",
        needs=lambda config, processes: config.optimizer.class_weights == BALANCED or config.data.balanced_sampling,
    ),
)


def outputs_of(config: ExperimentConfig, processes: int) -> list[Output]:
    """The rows of the files that a run writes."""
    return [row for row in OUTPUTS if config.run.mode in row.modes and row.needs(config, processes)]


def planned_files(config: ExperimentConfig, processes: int) -> str:
    """The files that a run will write, one a line."""
    rows = outputs_of(config, processes)
    lines = (f"{row.place(config)}: {row.what}{row.detail(config)}" for row in rows)
    return "\n".join(map(plain_name, lines))


def written_files(config: ExperimentConfig, processes: int) -> Rows:
    """The paths of what a run wrote, and the command for TensorBoard."""
    command = f"tensorboard --logdir {_events(config)}"
    rows = [
        (row.label, command if row.label == TENSORBOARD else str(path))
        for row in outputs_of(config, processes)
        for path in row.found(config)
    ]
    return list(dict.fromkeys(rows))
