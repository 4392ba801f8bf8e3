"""The command that shows data sets: unusual data, faults, wrong usage, and its messages."""

import re
from pathlib import Path

import pytest

from tests.object_detection.detection_records import GOOD, detection_record
from tests.runtime.runs import picture, write_data, write_split
from tests.runtime.scenes import write_scenes
from tests.tools.inspect.inspecting import inspect
from tests.utils.input_records import record
from tools.inspect.__main__ import BATCH_SIZES, make_parser, parse_arguments
from tools.inspect.stored_records import stored_records
from utils.config import DETECTORS
from utils.records.manifest import MANIFEST_NAME, Manifest, Split, write_manifest
from utils.records.split_files import load_split

SMALL = ("--image_size=16", "--images=6", "--seed=1")
ODD_NAMES = ("日本語の名前", "Ünïcödé café", "$x^2$ <b>", "\x00\x1b[1m\n\ttab", "n" * 500, "")


def write_labels(folder, labels, names, *, validation=(), encoded=picture):
    """Writes a data set of images with these labels and one class per name."""
    folder.mkdir()
    splits = {}
    for split, given in (("train", labels), ("validation", validation)):
        if given:
            examples = [record(encoded(number), label) for number, label in enumerate(given)]
            splits[split] = Split(shards=tuple(write_split(folder, split, examples, 1)))
    names = tuple(names)
    write_manifest(folder, Manifest(class_names=names, class_count=len(names), head_size=len(names), splits=splits))
    return folder


def write_objects(folder, records):
    """Writes a detection data set with the categories cat, dog and bird."""
    folder.mkdir()
    (shard,) = write_split(folder, "train", records, 1)
    manifest = Manifest(
        task="detection",
        class_names=("cat", "dog", "bird"),
        category_ids=(1, 3, 7),
        class_count=3,
        head_size=8,
        label_offset=0,
        splits={"train": Split(shards=(shard,))},
    )
    write_manifest(folder, manifest)
    return folder


def test_the_help_lists_the_flags_that_act():
    text = make_parser().format_help()
    for flag in ("arch", "batch_size", "mixup", "cosine_lr", "no_color_jitter", "output", "images", "processes"):
        assert re.search(rf"--{flag}[ ,\n]", text), flag
    assert "--weight_decay" not in text


def test_the_kind_of_records_says_the_network(tmp_path):
    labels, scenes = write_data(tmp_path / "labels"), write_scenes(tmp_path / "scenes")
    for data, arch, batch in ((labels, None, 20), (scenes, DETECTORS[0], BATCH_SIZES["detection"])):
        config = parse_arguments([str(data), "--output=s"], {}, "e").command.config
        assert (config.model.architecture, config.data.batch_size_per_replica) == (arch, batch)
        assert config.run.results_dir == "e"  # a checkpoint in the current folder has no influence


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["gone"], 1, "OUT gone: no such folder"),
        (["{tmp}"], 1, "no file is named train-* or coco_train*, and there is no dataset.json"),
        (["{labels}", "--arch=ssd320"], 2, "--arch ssd320: the records in {labels} are for classification"),
        (["{scenes}", "--arch=resnet50"], 2, "--arch resnet50: the records in {scenes} are for detection"),
        (["{plain}", "--arch=resnet50"], 2, "--arch resnet50: the records in {plain} are for detection"),
        (["{labels}", "--images=0"], 2, "--images 0: must be a positive integer"),
        (["{labels}", "--processes=0"], 2, "--processes 0: must be a positive integer"),
        (["{labels}", "--batch_size=0"], 2, "--batch_size 0: must be a positive integer"),
        (["{labels}", "--lr_init=fast"], 2, "--lr_init fast: must be a number"),
        (["{labels}", "--data_idx_dir={tmp}"], 2, "only used with --dali"),
        (["{scenes}", "--mixup=0.2"], 2, "--mixup: not used with --arch ssd320"),
        (["{labels}", "--train_crowds"], 2, "--train_crowds: only used with --arch ssd320"),
        (["{labels}", "--batch_size=21"], 2, "larger than the 20 training examples"),
        (["{labels}", "--output={labels}"], 2, "holds the records; name another folder"),
        (["{labels}", "--output={labels}/dataset.json"], 1, "cannot be written (File exists)"),
        (["{labels}", "--output={labels}/dataset.json/sheets"], 1, "cannot be written (Not a directory)"),
    ],
)
def test_what_cannot_be_shown_is_a_sentence(flags, status, message, tmp_path, places):
    where = {**places, "tmp": tmp_path}
    data, *more = (flag.format(**where) for flag in flags)
    done = inspect(Path(data), tmp_path / "sheets", *more)
    assert done.status == status
    assert done.error.startswith("error: ")
    assert done.error.count("\n") == 1
    assert message.format(**where) in done.error
    assert "--data_dir" not in done.error


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Folders of records: with labels, with objects, and with objects but no manifest."""
    folder = tmp_path_factory.mktemp("places")
    write_data(folder / "labels")
    write_scenes(folder / "scenes")
    write_scenes(folder / "plain")
    (folder / "plain" / MANIFEST_NAME).unlink()
    return {name: folder / name for name in ("labels", "scenes", "plain")}


def test_one_class_alone_is_shown(tmp_path):
    data = write_labels(tmp_path / "data", [1] * 4, ["only"])
    done = inspect(data, tmp_path / "sheets", *SMALL)
    assert (done.status, done.error) == (0, "")
    assert "classes: 1, 1 only: there is nothing to tell apart" in done.output
    assert "evaluated.png" not in done.facts["sheets"]
    assert done.facts["classes"] == [{"label": 1, "name": "only", "train": 4}]


@pytest.mark.slow
def test_names_of_any_kind_are_shown_and_kept(tmp_path):
    labels = [1, 2, 3, 4, 5, 6, 1, 2]
    done = inspect(write_labels(tmp_path / "data", labels, ODD_NAMES), tmp_path / "sheets", *SMALL)
    assert (done.status, done.error) == (0, "")
    assert [row["name"] for row in done.facts["classes"]] == list(ODD_NAMES)
    assert "\x1b" not in done.output
    assert done.pixels("classes.png").std() > 10
    assert {name for _, facts in done.cells("raw.png") for name in [facts["name"]]} <= set(ODD_NAMES)


@pytest.mark.slow
def test_a_thousand_classes_are_counted_and_the_chart_stays_readable(tmp_path):
    names = [f"class number {number}" for number in range(1000)]
    data = write_labels(tmp_path / "data", [1, 1, 1, 500, 500, 1000], names, validation=[2, 1])
    done = inspect(data, tmp_path / "sheets", *SMALL, "--batch_size=3")
    assert (done.status, done.error) == (0, "")
    counts = {row["label"]: (row["train"], row["validation"]) for row in done.facts["classes"]}
    assert len(counts) == 1000
    assert [counts[label] for label in (1, 2, 500, 1000, 7)] == [(3, 1), (0, 1), (2, 0), (1, 0), (0, 0)]
    assert "without an example in train: 2 class number 1, 3 class number 2" in done.output
    assert "and 992 more" in done.output
    assert done.pixels("classes.png").shape[0] < 2000


def test_faulty_records_are_shown_counted_and_named(tmp_path):
    labels = [1, 2, 9, 2, 1, 3]

    def encoded(number):
        return b"no image" if number == 4 else picture(number)

    data = write_labels(tmp_path / "data", labels, ["a", "b", "c"], validation=[0, 1], encoded=encoded)
    done = inspect(data, tmp_path / "sheets", *SMALL, "--batch_size=6")
    assert done.status == 3
    train, validation = data / "train-00000-of-00001", data / "validation-00000-of-00001"
    outside = f"{train}, record 2: label 9 is outside 1..3 (--num_classes 3)"
    for fault in (outside, f"{train}, record 4: the image does not decode", f"{validation}, record 0: label 0"):
        assert fault in done.error
        assert any(fault in listed for listed in done.facts["faults"])
    for name in ("raw.png", "augmented.png"):
        faulty = {facts["index"] for _, facts in done.cells(name) if "fault" in facts}
        assert faulty == {2, 4}
    row = next(row for row in done.facts["classes"] if row["name"] == "a")
    assert row["train"] == 2  # an image that does not decode still has a label


def test_data_without_a_single_sound_example_is_refused(tmp_path):
    data = write_labels(tmp_path / "data", [8, 9, 8], ["a", "b"])
    done = inspect(data, tmp_path / "sheets", *SMALL)
    assert done.status == 1
    assert "none of the first 3 examples of train can be used" in done.error
    assert done.error.count("\n") == 1


@pytest.mark.slow
def test_crowds_objects_without_anchor_and_faulty_objects_are_told_apart(tmp_path):
    records = [
        detection_record([GOOD, (0.0, 0.0, 0.4, 0.2)], label=[3, 1], is_crowd=[1, 0]),
        detection_record([GOOD, GOOD], label=[3, 7], is_crowd=[0, 0]),  # only one of two equal boxes gets anchors
        detection_record([GOOD], label=[2]),
        detection_record(),
    ]
    data = write_objects(tmp_path / "data", records)
    done = inspect(data, tmp_path / "sheets", "--image_size=64", "--batch_size=4", "--images=4", "--seed=1")
    assert done.status == 3
    fault = "object 0: has the category id 2, which the label map does not"
    assert fault in done.error
    raw = {facts["index"]: facts for _, facts in done.cells("raw.png")}
    trained = {facts["index"]: facts for _, facts in done.cells("augmented.png")}
    assert [one["name"] for one in raw[0]["objects"]] == ["dog (crowd)", "cat"]
    assert {one["note"] for one in trained[0]["objects"] if one["name"] == "dog"} == {"crowd"}
    assert sorted((one["name"], one["note"]) for one in trained[1]["objects"]) == [("bird", "no anchor"), ("dog", "")]
    assert fault in raw[2]["fault"]
    assert fault in trained[2]["fault"]
    assert trained[3]["objects"] == []
    assert done.facts["splits"]["train"] == {
        "examples": 4,
        "looked_at": 4,
        "objects": 3,
        "crowds": 1,
        "images_without_objects": 1,
        "most_objects_in_an_image": 2,
    }


@pytest.mark.slow
def test_images_without_any_object_are_shown(tmp_path):
    data = write_objects(tmp_path / "data", [detection_record(), detection_record()])
    done = inspect(data, tmp_path / "sheets", "--image_size=64", "--images=2")
    assert done.status == 0
    assert done.error.startswith("WARNING: train: none of its 2 examples has an object; ")
    assert "boxes: none to train with" in done.output
    assert "boxes.png" not in done.output
    assert done.facts["boxes"]["covered_by_no_anchor"] is None


@pytest.mark.slow
def test_records_without_a_manifest_need_their_label_map(places, tmp_path):
    flags = ("--image_size=96", "--images=2", "--batch_size=2")
    done = inspect(places["plain"], tmp_path / "sheets", *flags)
    assert done.status == 1
    assert "is of the class" in done.error
    items = [f"item {{ id: {number} name: '{name}' }}" for number, name in ((1, "red"), (3, "green"), (4, "blue"))]
    (tmp_path / "map.pbtxt").write_text("\n".join(items))
    done = inspect(places["plain"], tmp_path / "sheets", *flags, f"--label_map={tmp_path / 'map.pbtxt'}")
    assert done.status == 0, done.error
    assert [row["name"] for row in done.facts["classes"]] == ["red", "green", "blue"]


@pytest.mark.slow
def test_a_recipe_may_hold_flags_without_effect_and_old_pictures_go(places, tmp_path):
    (tmp_path / "recipe.args").write_text("--weight_decay 1e-4\n--arch resnet50\n--mode evaluate\n--num_iter 3\n")
    sheets = tmp_path / "sheets"
    sheets.mkdir()
    for name in ("boxes.png", "mine.png", "inspect.json"):
        (sheets / name).write_text("old")
    done = inspect(places["labels"], sheets, f"@{tmp_path / 'recipe.args'}", *SMALL)
    assert done.status == 0
    assert done.error == "WARNING: no effect here: --weight_decay, --mode\n"
    assert done.facts["learning_rate"]["total_steps"] == 3
    assert not (sheets / "boxes.png").exists()
    assert (sheets / "mine.png").read_text() == "old"


def test_of_many_records_each_nth_is_counted(places):
    files = load_split(places["labels"], "train")  # 20 in two files
    for most, numbers in ((20, range(20)), (7, range(0, 20, 3)), (1, [0])):
        assert [one.number for one in stored_records(files, most)] == list(numbers)
        labels = [one.features["image/class/label"] for one in stored_records(files, most)]
        assert labels == [[1 + number % 3] for number in numbers]


def test_a_stopped_inspection_says_so(places, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.hooks.preemption.PreemptionHook.wants_stop", True)
    done = inspect(places["labels"], tmp_path / "sheets", *SMALL, "--batch_size=6")
    assert done.status == 75
    assert "interrupted: nothing was finished" in done.error
    assert list((tmp_path / "sheets").iterdir()) == []
