import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from object_detection.coco.metrics import METRICS
from tests.conftest import ROOT
from tests.object_detection.coco_problems import plain_pycocotools, problem
from tools.score import main

PAIRS = {
    "cocoapi_val2014_100": ("gt_instances_val2014_100.json", "instances_val2014_fakebbox100_results.json"),
    "rodm_bbox_area": ("sampled_gts_bbox_area.json", "sampled_bbox_results.json"),
    "torchmetrics_doc": ("gt.json", "dt.json"),
}


@pytest.fixture
def write(tmp_path):
    """Writes a value as JSON and returns its path."""

    def to(name, value):
        path = tmp_path / name
        path.write_text(json.dumps(value))
        return str(path)

    return to


@pytest.fixture
def files(write):
    """Returns a function that writes a small pair, after a change to it."""

    def make(change=lambda groundtruth, results: None):
        groundtruth, results = problem(6, seed=1, crowds=0.0)
        results = [{**{key: a[key] for key in ("image_id", "category_id", "bbox")}, "score": 0.5}
                   for a in groundtruth["annotations"]]  # fmt: skip
        change(groundtruth, results)
        return write("groundtruth.json", groundtruth), write("results.json", results)

    return make


@pytest.mark.parametrize("pair", PAIRS)
def test_scores_of_published_pairs_are_those_of_pycocotools(sample_data, write, tmp_path, capsys, pair):
    folder = sample_data / "coco_metric_pairs"
    if not folder.is_dir():
        pytest.skip(f"no coco_metric_pairs in {sample_data} (SAMPLE_DATA)")
    groundtruth, results = (json.loads((folder / pair / name).read_text()) for name in PAIRS[pair])
    if isinstance(results, dict):  # one of the files is like an annotation file
        results = results["annotations"]
    for number, annotation in enumerate(groundtruth["annotations"], 1):
        annotation["id"] = number  # pycocotools does not match an object whose id is 0
        annotation.setdefault("iscrowd", 0)
    evaluation, printed = plain_pycocotools(groundtruth, results)
    out = tmp_path / "scores.json"
    assert main([write("g.json", groundtruth), write("r.json", results), "--json", str(out)]) == 0
    assert capsys.readouterr().out.startswith(printed + "\n")
    scores = json.loads(out.read_text())
    np.testing.assert_allclose([scores["metrics"][name] for name in METRICS], evaluation.stats, rtol=0, atol=1e-12)
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    expected = [known.mean() if (known := column[column > -1]).size else -1 for column in np.moveaxis(precision, 2, 0)]
    found = [row["average_precision"] for row in scores["classes"]]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert [row["id"] for row in scores["classes"]] == evaluation.params.catIds
    assert scores["detections"] == len(results)


def test_scores_tell_what_each_kind_of_error_costs(write, tmp_path, capsys):
    groundtruth, results = problem(12, seed=5, categories=3)
    out = tmp_path / "scores.json"
    assert main([write("g.json", groundtruth), write("r.json", results), "--json", str(out)]) == 0
    errors = json.loads(out.read_text())["errors"]
    printed = capsys.readouterr().out
    assert f"score >= {errors['operating_score']:.3f}" in printed
    for row in errors["kinds"]:
        line = next(line for line in printed.splitlines() if line.startswith(row["kind"]))
        assert line.split()[-3:] == [f"{row['cost']:.3f}", str(row["sure"]), str(row["count"])]
    assert errors["kinds"][-1]["cost"] > 0


def test_tensorflow_is_not_imported(files):
    code = "import sys; sys.modules['tensorflow'] = None; from tools.score import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *files()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "maxDets=100 ] = 1.000" in done.stdout


def test_5000_images_take_seconds(write):
    random = np.random.default_rng(0)
    boxes = np.round(random.uniform([0, 0, 9, 9], [300, 200, 300, 250], (10_000, 4)), 2).tolist()
    categories = random.integers(1, 81, 10_000).tolist()
    images = [{"id": number, "height": 480, "width": 640} for number in range(5000)]
    objects = [
        {"id": number, "image_id": number // 2, "category_id": category, "bbox": box}
        for number, (category, box) in enumerate(zip(categories, boxes, strict=True))
    ]
    names = [{"id": number, "name": str(number)} for number in range(1, 81)]
    groundtruth = write("g.json", {"images": images, "annotations": objects, "categories": names})
    results = write("r.json", [{**one, "score": 0.5} for one in objects])
    began = time.process_time()
    assert main([groundtruth, results]) == 0
    assert time.process_time() - began < 8  # about 1 on an idle machine


def test_each_class_has_its_row(files, capsys):
    assert main([*files(lambda g, r: g["categories"].append({"id": 90, "name": "none\nat all"}))]) == 0
    rows = capsys.readouterr().out.split("\n\n")[2].splitlines()
    assert rows[0].split() == ["id", "AP", "95", "%", "interval", "objects", "detections", "class"]
    assert rows[-1].split(maxsplit=4) == ["90", "-1.000", "0", "0", "none at all"]
    assert all(row.split()[1] == "1.000" for row in rows[1:-1])


def shifted(entries, key, change):
    for entry in entries:
        entry[key] = change(entry[key])


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda g, r: g["annotations"].clear(), "is -1: the groundtruth has no object at all."),
        (lambda g, r: r.clear(), "is 0.000: there is no detection above the score threshold at all"),
        (lambda g, r: shifted(r, "category_id", lambda one: one + 1), "boxes match when 1 is subtracted from each cat"),
        (lambda g, r: shifted(r, "bbox", lambda b: [b[0] + b[2] / 2, b[1] + b[3] / 2, *b[2:]]), "[xcenter, ycenter, "),
        (lambda g, r: shifted(r, "bbox", lambda b: [-9e3, 0, 1, 1]), "no detection overlaps an object of its category"),
    ],
)
def test_0_and_minus_1_come_with_their_cause(files, capsys, tmp_path, change, cause):
    out = tmp_path / "scores.json"
    assert main([*files(change), f"--json={out}"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert cause in last
    assert json.loads(out.read_text())["findings"] == [last]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g, r: shifted(r, "image_id", lambda one: one + 1000), "results.json: no image id is in {}/groundtruth"),
        (lambda g, r: r.append({**r[0], "image_id": 4000}), "results.json: 1 image id not in {}/groundtruth.json"),
        (lambda g, r: r.append({**r[0], "score": "1"}), "(counted from 0): \"score\" is '1'; must be a finite number"),
        (lambda g, r: r.append(7), "(counted from 0): is 7; must be an object"),
        (lambda g, r: g.pop("images"), 'groundtruth.json: must be an object with "images"'),
    ],
)
def test_files_that_do_not_belong_together_are_refused(files, capsys, tmp_path, change, message):
    assert main([*files(change)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path}/")
    assert message.format(tmp_path) in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not json", "is not valid JSON: Expecting value"),
        (b"[" * 100_000, "is nested too deeply"),
        (b"\xff\xfe\x00", "is not valid JSON: "),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a git-lfs pointer; git lfs pull fetches the file itself"),
        (b"9" * 5000, "has a number that cannot be read"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(files, capsys, tmp_path, content, message):
    path = tmp_path / "other.json"
    if content is not None:
        path.write_bytes(content)
    assert main([files()[0], str(path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {path}: {message}")


def test_what_is_no_regular_file_is_not_opened(files, capsys):
    assert main([files()[0], "/dev/zero"]) == 1
    assert capsys.readouterr().err == "error: /dev/zero: cannot be read: it is a device, and must be a regular file\n"


@pytest.mark.parametrize("number", [0, 1])
def test_the_scores_never_take_the_place_of_a_file_that_is_read(files, capsys, number):
    given = files()
    before = Path(given[number]).read_bytes()
    assert main([*given, f"--json={given[number]}"]) == 2
    assert "which the command reads; name another file" in capsys.readouterr().err
    assert Path(given[number]).read_bytes() == before


def test_scores_that_cannot_be_written_are_an_error(files, capsys, tmp_path):
    assert main([*files(), f"--json={tmp_path}/none/out.json"]) == 1
    assert f"--json {tmp_path}/none/out.json: cannot be written: No such file" in capsys.readouterr().err
