"""Sections of the documents, followed: their commands, word for word, in a folder of little data and tiny networks.

The flags that are added to a command make it small. Commands that install something or start several processes are not
run here; ``test_documents_commands.py`` checks them.
"""

import json
import shutil

import numpy as np
import pytest

from runtime.artefacts.formats import FORMATS
from tests.documents import HOW_TOS, PAGES, README, commands_in, without_variables
from tests.object_detection.tiny_coco import annotation, content, image
from tests.runtime.artefacts.exports import need_packages
from tests.runtime.runs import CLASSES, root_logger, run, tiny_networks
from tests.runtime.scenes import IDS, NAMES, picture_of, scene
from tests.utils.input_records import encode, noise
from tests.utils.tiny_images import write_files
from tools import benchmark_input, export, report
from tools.convert import __main__ as convert_dataset
from tools.convert import coco_command as create_coco_tfrecord
from tools.validate import __main__ as validate_dataset
from utils.cmdline_helper import parse

pytestmark = pytest.mark.slow
PROGRAMS = {
    "tools.convert": convert_dataset.main,
    "tools.validate": validate_dataset.main,
    "object_detection.create_coco_tfrecord": create_coco_tfrecord.main,
    "tools.export": export.main,
    "tools.benchmark_input": benchmark_input.main,
    "tools.report": report.main,
}
ONE_WORKER = ("--workers=1",)
SMALLER = {
    "tools.convert": ONE_WORKER,
    "tools.validate": ONE_WORKER,
    "object_detection.create_coco_tfrecord": ONE_WORKER,
    # Whether a tiny network survives int8 is chance.
    "tools.export": ("--max_drift=1", "--max_metric_drop=1", "--speed_seconds=0"),
    "tools.benchmark_input": ("--image_size=16", "--batches=2", "--batch_size=4", "--network_speed=9", "--split=train"),
    "tools.report": (),
}
OWN_IMAGES, OWN_BOXES, _, FINE_TUNE, DEPLOY = map(README.section, HOW_TOS)
RESUME = PAGES["docs/training.md"].section("Resume")
BENCHMARK = PAGES["docs/performance.md"].section("Benchmark")
MEASURE_INPUT = PAGES["docs/performance.md"].section("Input or network")
COMPARE = PAGES["docs/logs.md"].section("Compare runs")


def kind(words):
    """The program of a command: "main", a module, or None for a command that is not run here."""
    if words[0] != ".venv/bin/python":
        return None
    return "main" if words[1] == "main.py" else words[2] if words[2] != "pip" else None


def smaller(words):
    """The flags that make a command of ``main.py`` small."""
    config = parse(words, {}).config
    measured = config.run.mode.endswith("benchmark")
    yield from ("--image_size=64" if config.detection else "--image_size=16",) if not is_artefact(words) else ()
    if config.run.mode != "predict" and not is_artefact(words):
        yield "--batch_size=4"
    if measured:
        yield from ("--num_iter=4", "--warmup_steps=1")
    elif config.run.is_training:
        yield "--num_iter=2" if config.run.mode == "train" else "--num_iter=1"  # a resumed run has two halves
        yield from ("--run_iter=1",) if config.run.run_limit else ()


def is_artefact(words):
    return any("EXPORT/" in word for word in words)


def follow(commands, with_report=False):
    """Runs commands in the current folder; the results of the runs of ``main.py``, in their order."""
    done = []
    for words in commands:
        what = kind(words)
        if what == "main":
            done.append(run(*words[2:], *smaller(words[2:]), report=with_report))
            assert done[-1].status == 0, f"{words}: {done[-1].error}"
        elif what is not None:
            with tiny_networks(), root_logger():
                assert PROGRAMS[what]([*words[3:], *SMALLER[what]]) == 0, words
    return done


def pictures(seed, count):
    """Pictures of noise, a color for each class: no two look the same."""
    for number in range(count):
        for place, name in enumerate(CLASSES):
            color = np.zeros(3)
            color[place] = 120
            yield name, number, encode((0.5 * noise(seed + 10 * number + place) + color).astype(np.uint8))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder, with pictures in class folders and some to predict."""
    monkeypatch.chdir(tmp_path)
    return fill(tmp_path)


def fill(folder):
    """Pictures in class folders, and some to predict."""
    files = {f"IMAGES/train/{name}/{number}.png": data for name, number, data in pictures(0, 6)}
    files |= {f"IMAGES/validation/{name}/{number}.png": data for name, number, data in pictures(1000, 3)}
    files |= {f"FOLDER/{name}.png": data for name, _, data in pictures(2000, 1)}
    return write_files(folder, files)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The same, with records and the run of a classifier on them."""
    folder = fill(tmp_path_factory.mktemp("trained") / "place")
    assert convert_dataset.main([str(folder / "IMAGES"), str(folder / "RECORDS"), *ONE_WORKER]) == 0
    train = "--arch=resnet50 --mode=train_and_evaluate --batch_size=4 --num_iter=1 --image_size=16"
    assert run(*train.split(), f"--data_dir={folder / 'RECORDS'}", f"--results_dir={folder / 'RUN'}").status == 0
    return folder


@pytest.fixture
def trained(prepared, tmp_path, monkeypatch):
    """The current folder, with a copy of all that."""
    folder = shutil.copytree(prepared, tmp_path / "place")
    monkeypatch.chdir(folder)
    return folder


def test_own_images(place):
    trained, evaluated, _ = follow(commands_in(OWN_IMAGES), with_report=True)
    assert (place / "RUN" / "best" / "checkpoint").is_file()
    assert "<html" in (place / "RUN" / "report.html").read_text(encoding="utf-8")
    assert evaluated.summary["images"] == 9
    assert evaluated.summary["top1_accuracy"] == trained.summary["top1_accuracy"]
    table = (place / "PREDICTIONS" / "predictions.csv").read_text(encoding="utf-8")
    assert len(table.splitlines()) == 1 + len(CLASSES)
    assert any(name in table for name in CLASSES)


def write_annotations(folder, split, first, count):
    """Pictures of rectangles in ``split``, and ``split.json``, COCO's annotations of them."""
    categories = [{"id": number, "name": name} for number, name in zip(IDS, NAMES, strict=True)]
    images, objects, files = [], [], {}
    for number in range(first, first + count):
        things, name = scene(number), f"{number}.png"
        files[f"{split}/{name}"] = picture_of(things, number)
        images.append(image(number + 1, name, 96, 96))
        for t in things:
            box = [t.left, t.top, t.right - t.left, t.bottom - t.top]
            objects.append(annotation(len(objects) + 1, number + 1, box, t.category, area=box[2] * box[3]))
    write_files(folder, files)
    (folder / f"{split}.json").write_text(json.dumps(content(images, objects, categories)))


def test_own_boxes(place):
    write_annotations(place, "TRAIN", 0, 8)
    write_annotations(place, "VAL", 1000, 6)
    _, evaluated, _ = follow(commands_in(OWN_BOXES))
    assert evaluated.summary["images"] == 6
    assert {key for key in evaluated.summary if key.startswith("Precision/mAP")}
    assert isinstance(json.loads((place / "EVAL" / "detections.json").read_text()), list)
    assert len([*(place / "PRED" / "pictures").iterdir()]) == len(CLASSES)


def test_resuming(trained):
    (trained / "RUN").rename(trained / "EARLIER")
    first, second = follow(commands_in(RESUME))
    assert "training from step 0 to 4 of 8" in first.error
    assert "training from step 4 to 8 of 8" in second.error


def test_fine_tuning_and_comparing(trained):
    (tuned,) = follow(commands_in(FINE_TUNE))
    assert "--finetune_checkpoint RUN/best" in tuned.error
    assert (trained / "TUNED" / "best" / "checkpoint").is_file()
    (trained / "TUNED").rename(trained / "OTHER_RUN")
    follow(commands_in(COMPARE))
    assert "2 runs compared" in (trained / "report.html").read_text(encoding="utf-8")


def test_deploying(trained):
    need_packages(*FORMATS)
    evaluated, _ = follow(commands_in(DEPLOY))
    assert evaluated.summary["images"] == 9
    report = json.loads((trained / "EXPORT" / "export_report.json").read_text())
    formats = {entry["format"] for entry in report["artefacts"]}
    assert formats == set(FORMATS)
    assert len(json.loads((trained / "PRED" / "predictions.json").read_text())) == len(CLASSES)


def test_benchmarking(trained):
    training, inference = follow([*commands_in(BENCHMARK), commands_in(MEASURE_INPUT)[0]])
    assert training.summary["train_throughput"] > 0
    assert inference.summary["eval_throughput"] > 0


def test_every_command_of_a_how_to_is_followed():
    commands = [words for title in HOW_TOS for words in commands_in(README.section(title))]
    assert [without_variables(words)[:2] for words in commands if kind(words) is None] == [
        ["bash", "utils/install_horovod.sh"],
        [".venv/bin/mpiexec", "--allow-run-as-root"],
        ["bash", "examples/SSD320_FP16_4GPU.sh"],
        [".venv/bin/python", "-m"],  # pip
    ]
