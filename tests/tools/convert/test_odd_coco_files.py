"""Properties of other annotation files than COCO's own: a category with the id 0."""

import json

import pytest

from object_detection.label_map import read_label_map
from tests.object_detection.tiny_coco import annotation, content, image, write_split
from tests.runtime.runs import run
from tests.tools.convert.coco_conversion import convert
from tests.utils.tiny_images import jpeg
from utils.records.manifest import read_manifest

FROM_ZERO = [{"id": 0, "name": "cell"}, {"id": 1, "name": "platelet"}]


@pytest.mark.slow
def test_a_category_with_the_id_0_is_trained_and_scored_as_any_other(tmp_path):
    data, results = tmp_path / "data", tmp_path / "run"
    flags = []
    for split, first in (("train", 1), ("val", 11)):
        images = [image(first + number, f"{number}.jpg") for number in range(4)]
        objects = [annotation(first + n, first + n, [4, 4, 20, 16], 0) for n in range(4)]
        pictures = {f"{number}.jpg": jpeg(first + number) for number in range(4)}
        flags += write_split(tmp_path, split, content(images, objects, FROM_ZERO), pictures)
    assert convert(data, *flags) == 0
    manifest = read_manifest(data)
    assert (manifest.category_ids, manifest.head_size) == ((0, 1), 2)
    assert [(one.id, one.name) for one in read_label_map(data / "label_map.pbtxt")] == [(0, "cell"), (1, "platelet")]
    given = ("--arch=ssd320", f"--data_dir={data}", "--batch_size=2", "--image_size=64", f"--results_dir={results}")
    trained = run(*given, "--mode=train_and_evaluate", "--num_iter=20", "--iter_unit=batch", "--seed=3")
    assert trained.status == 0, trained.error
    assert {"PerformanceByCategory/mAP/cell", "PerformanceByCategory/mAP/platelet"} <= set(trained.summary)
    assert trained.summary["PerformanceByCategory/mAP/cell"] >= 0  # -1 would mean that it has no ground truth
    found = json.loads((results / "detections.json").read_text())
    assert max(found, key=lambda row: row["score"])["category_id"] == 0  # all objects are cells


def test_category_0_is_left_out_where_it_is_the_background(tmp_path, capsys):
    categories = [{"id": 0, "name": "background"}, {"id": 1, "name": "cell"}]
    images, pictures = [image(1, "a.jpg")], {"a.jpg": jpeg()}
    coco = content(images, [annotation(1, 1, [4, 4, 8, 8], 1)], categories)
    assert convert(tmp_path / "out", *write_split(tmp_path, "train", coco, pictures)) == 0
    assert read_manifest(tmp_path / "out").category_ids == (1,)
    assert [category.id for category in read_label_map(tmp_path / "out" / "label_map.pbtxt")] == [1]
    used = content(images, [annotation(7, 1, [4, 4, 8, 8], 0)], categories)
    assert convert(tmp_path / "again", *write_split(tmp_path / "b", "train", used, pictures)) == 1
    assert "annotation 7 has category 0, 'background', which is not an object class" in capsys.readouterr().err
    alone = content(images, [], categories[:1])
    assert convert(tmp_path / "third", *write_split(tmp_path / "c", "train", alone, pictures)) == 1
    assert "its only category is 'background'" in capsys.readouterr().err
