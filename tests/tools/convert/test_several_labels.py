"""Images with several labels each: label files and class folders to records."""

import json
import shutil

import pytest

from tests.tools.convert.converting import convert, count_written, examples, files, value, values
from tests.utils.tiny_images import encoded, jpeg, pattern, write_files
from tools.convert.label_file import read_label_file
from utils.errors import RunError
from utils.records.manifest import read_manifest
from utils.records.split_files import load_split

LABELS = {"a.jpg": ("sky", "tree"), "b/c.jpg": (), "b/d.jpg": ("tree",), "b/e.jpg": ("sky", "car", "tree")}


@pytest.fixture
def images(tmp_path):
    write_files(tmp_path / "images", {name: jpeg(seed) for seed, name in enumerate(LABELS)})
    return tmp_path / "images"


def label_file(tmp_path, text):
    (tmp_path / "labels").write_text(text, encoding="utf-8")
    return tmp_path / "labels"


def table(split=False):
    lines = ["file,labels,split" if split else "labels,file"]
    for number, (name, labels) in enumerate(LABELS.items()):
        joined = "; ".join(labels)
        lines.append(f"{name},{joined},{'val' if number == 3 else 'train'}" if split else f"{joined},{name}")
    return "\n".join(lines) + "\n"


def entries(split=False):
    return [
        {"file": name, "labels": list(labels), **({"split": "val" if number == 3 else "train"} if split else {})}
        for number, (name, labels) in enumerate(LABELS.items())
    ]


def labels_of(out, split):
    """The names of the labels of each image by its file name; checks that numbers and names agree."""
    found, names = {}, read_manifest(out).class_names
    for example in examples(out, split):
        numbers = values(example, "image/class/label") or []
        texts = [text.decode() for text in values(example, "image/class/text") or []]
        assert [names[number - 1] for number in numbers] == texts
        found[value(example, "image/filename").decode()] = set(texts)
    return found


EXPECTED = {name.rsplit("/", 1)[-1]: set(labels) for name, labels in LABELS.items()}


@pytest.mark.parametrize(
    "text", [table(True), json.dumps(entries(True)), "\n".join(json.dumps(entry) for entry in entries(True))]
)
def test_a_label_file_of_each_kind_gives_records_with_all_labels(images, tmp_path, text):
    out = tmp_path / "out"
    assert convert(images, out, f"--labels={label_file(tmp_path, text)}") == 0
    assert labels_of(out, "train") | labels_of(out, "validation") == EXPECTED
    assert set(labels_of(out, "validation")) == {"e.jpg"}
    manifest = read_manifest(out)
    assert (manifest.multi_label, manifest.class_names, manifest.head_size) == (True, ("car", "sky", "tree"), 3)


def test_without_splits_a_fraction_is_set_aside_and_the_same_command_changes_nothing(images, tmp_path, monkeypatch):
    flags = (f"--labels={label_file(tmp_path, table())}", "--validation_fraction=0.25", "--head_size=5")
    assert convert(images, tmp_path / "out", *flags) == 0
    assert load_split(tmp_path / "out", "validation").examples == 1
    assert load_split(tmp_path / "out", "train").examples == 3
    assert read_manifest(tmp_path / "out").head_size == 5
    before, written = files(tmp_path / "out"), count_written(monkeypatch)
    assert convert(images, tmp_path / "out", *flags) == 0
    assert (files(tmp_path / "out"), written) == (before, [])


def test_names_of_classes_and_folders_of_splits(images, tmp_path):
    for split, name in (("train", "b/c.jpg"), ("train", "b/d.jpg"), ("val", "a.jpg")):
        (images / split).mkdir(exist_ok=True)
        shutil.copy(images / name, images / split)
    text = "file,labels\ntrain/c.jpg,x\ntrain/d.jpg,x;y\nval/a.jpg,y\n"
    (tmp_path / "names").write_text("y\tYes\nx\tNo\n")
    flags = (f"--labels={label_file(tmp_path, text)}", f"--class_names={tmp_path / 'names'}")
    assert convert(images, tmp_path / "out", *flags) == 0
    assert labels_of(tmp_path / "out", "train") == {"c.jpg": {"No"}, "d.jpg": {"No", "Yes"}}
    assert labels_of(tmp_path / "out", "validation") == {"a.jpg": {"Yes"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its columns are missing; must be file, labels and, if wanted, split"),
        ("name,labels\na.jpg,x\n", "its columns are name, labels; must be file"),
        ("file,labels\n", "lists no image"),
        ("file,labels\na.jpg\n", "line 2 has 1 cells; must have 2"),
        ('file,labels\n"a.jpg,x\n', "line 2: unexpected end of data"),
        ("file,labels\na.jpg,x\na.jpg,y\n", "line 2 and line 3 both list a.jpg"),
        ("file,labels\n../a.jpg,x\n", "line 2: \"file\" is '../a.jpg', and must be a path below SRC"),
        ("file,labels,split\na.jpg,x,dev\n", "line 2: \"split\" is 'dev', and must be train or validation"),
        ('[{"file": "a.jpg"}]', 'entry 1: "labels" is missing, and must be a list'),
        ('[{"file": "a.jpg", "labels": ["x;y"]}]', "entry 1: \"labels\" has ['x;y'], and must have names"),
        ('[{"file": "a.jpg", "labels": [], "tag": 1}]', 'entry 1: has "tag", and must have nothing but file'),
        ("[3]", "entry 1: is 3, and must be an object"),
        ('{"file": 1', "is not valid JSON"),
    ],
)
def test_what_is_wrong_with_a_label_file_is_said(tmp_path, text, message):
    with pytest.raises(RunError) as error:
        read_label_file(label_file(tmp_path, text))
    assert str(error.value).startswith(f"--labels {tmp_path / 'labels'}: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "flags", "status", "message"),
    [
        ("file,labels\ngone.jpg,x\n", (), 1, "1 image missing below"),
        ("file,labels,split\na.jpg,x,train\nb/c.jpg,y,\n", (), 1, "1 image without a split; give all of them one"),
        ("file,labels\na.jpg,\n", (), 1, "no image has a label"),
        (table(), ("--bounding_boxes=x",), 2, "--bounding_boxes x: not used with images of several labels each"),
        (table(), ("--validation_labels=x",), 2, "--validation_labels x: contradicts --labels, which has them"),
        (table(), ("--head_size=2",), 2, "--head_size 2: must be at least 3"),
        (table(), ("--validation_fraction=1.5",), 2, "--validation_fraction 1.5: must be above 0 and below 1"),
        (table(True), ("--validation_fraction=0.5",), 2, "already has validation images"),
        (table(), ("--train_shards=9",), 2, "--train_shards 9: must be at most 4"),
    ],
)
def test_what_does_not_fit_is_a_sentence(images, tmp_path, capsys, text, flags, status, message):
    assert convert(images, tmp_path / "out", f"--labels={label_file(tmp_path, text)}", *flags) == status
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_an_image_in_several_class_folders_has_all_their_labels(tmp_path, capsys):
    same, alike = jpeg(1), [encoded(pattern(seed=seed), "BMP") for seed in (4, 5)]  # of one size
    write_files(
        tmp_path / "folders",
        {"cat/1.jpg": same, "dog/1.jpg": same, "dog/2.jpg": jpeg(3), "cat/3.bmp": alike[0], "dog/3.bmp": alike[1]},
    )
    assert convert(tmp_path / "folders", tmp_path / "out", "--multi_label") == 0
    names = [value(example, "image/filename").decode() for example in examples(tmp_path / "out", "train")]
    assert sorted(names) == ["1.jpg", "2.jpg", "3.bmp", "3.bmp"]
    found = labels_of(tmp_path / "out", "train")
    assert (found["1.jpg"], found["2.jpg"], len(found["3.bmp"])) == ({"cat", "dog"}, {"dog"}, 1)
    assert convert(tmp_path / "folders", tmp_path / "parts", "--multi_label", "--validation_fraction=0.25") == 0
    assert load_split(tmp_path / "parts", "validation").examples == 1
    write_files(tmp_path / "alone", {"cat/1.jpg": same, "dog/2.jpg": jpeg(2)})
    assert convert(tmp_path / "alone", tmp_path / "none", "--multi_label") == 1
    assert "no image lies in several class folders" in capsys.readouterr().err
