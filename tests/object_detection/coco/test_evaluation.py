import json
import logging

import numpy as np
import pytest

from object_detection.coco.evaluation import CocoEvaluator, score
from object_detection.coco.metrics import METRICS
from tests.object_detection.coco_problems import batches, plain_pycocotools, problem
from utils.errors import RunError
from utils.reporting.per_image import detections_of
from utils.statistics.detection_metrics import mean_over_categories


def categories_of(groundtruth):
    return [(category["id"], category["name"]) for category in groundtruth["categories"]]


def evaluator_of(groundtruth, results, sizes, **options):
    evaluator = CocoEvaluator(categories_of(groundtruth))
    for batch in batches(groundtruth, results, sizes, **options):
        evaluator.update(batch)
    return evaluator


@pytest.fixture(scope="module")
def pair():
    return problem(9, seed=4)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_split_has_the_metrics_that_pycocotools_finds_in_the_files(seed):
    groundtruth, results = problem(12, seed=seed)
    evaluator = evaluator_of(groundtruth, results, [5, 5, 2])
    written = json.loads(evaluator.artefacts()["detections.json"])
    evaluation, printed = plain_pycocotools(groundtruth, written)
    found = evaluator.result()
    np.testing.assert_allclose([found[name] for name in METRICS], evaluation.stats, rtol=0, atol=1e-9)
    assert evaluator.report().startswith(printed)
    assert score(groundtruth, written).metrics == {name: found[name] for name in METRICS}
    for category, value in score(groundtruth, written).by_category.items():
        assert found[f"PerformanceByCategory/mAP/{dict(categories_of(groundtruth))[category]}"] == value
    assert found["images"] == 12


def test_detections_are_written_with_the_numbers_that_they_had(pair):
    groundtruth, results = pair
    written = json.loads(evaluator_of(groundtruth, results, [9]).artefacts()["detections.json"])
    assert sorted(written, key=str) == sorted(results, key=str)
    assert [entry["image_id"] for entry in written] == sorted(entry["image_id"] for entry in results)


@pytest.mark.parametrize("sizes", [[1] * 9, [4, 4, 1], [20]])
def test_the_batch_size_does_not_matter(pair, sizes):
    expected, found = evaluator_of(*pair, [9]), evaluator_of(*pair, sizes)
    assert found.result() == expected.result()
    assert found.artefacts() == expected.artefacts()


def test_order_and_shards_do_not_matter(pair):
    expected = evaluator_of(*pair, [9])
    order = np.random.default_rng(1).permutation(9)
    parts = [evaluator_of(*pair, [2, 2], order=order[start::3]) for start in range(3)]
    parts[0].merge(parts[2])
    parts[0].merge(parts[1])
    assert parts[0].result() == expected.result()
    assert parts[0].artefacts() == expected.artefacts()
    assert parts[0].report() == expected.report()


def test_a_result_can_be_asked_for_between_updates(pair):
    whole = evaluator_of(*pair, [9]).result()
    evaluator = CocoEvaluator(categories_of(pair[0]))
    for batch in batches(*pair, [3, 3, 3]):
        evaluator.update(batch)
        between = evaluator.result()
    assert between == whole == evaluator.result()


def test_an_evaluator_without_images_can_be_merged(pair):
    evaluator, other = evaluator_of(*pair, [9]), CocoEvaluator(categories_of(pair[0]))
    expected = evaluator.result()
    evaluator.merge(other)
    assert evaluator.result() == expected
    other.merge(evaluator)
    assert other.result() == expected


def test_no_image_is_an_error():
    with pytest.raises(RunError, match="no image could be evaluated"):
        CocoEvaluator([(1, "a")]).result()


def test_images_without_objects_and_detections_count_as_images(pair):
    groundtruth = {**pair[0], "annotations": []}
    found = evaluator_of(groundtruth, [], [4, 5]).result()
    assert found["images"] == 9
    assert found["Precision/mAP"] == found["PerformanceByCategory/mAP/category 0"] == -1


def test_a_batch_whose_rows_are_all_padding_is_no_error(pair):
    (batch,) = batches(*pair, [9])
    evaluator = CocoEvaluator(categories_of(pair[0]))
    evaluator.update({name: array[:0] for name, array in batch.items()})
    with pytest.raises(RunError, match="no image"):
        evaluator.result()
    evaluator.update(batch)
    assert evaluator.result() == evaluator_of(*pair, [9]).result()


def test_other_arrays_of_the_batch_do_not_disturb(pair):
    (batch,) = batches(*pair, [9])
    evaluator = CocoEvaluator(categories_of(pair[0]))
    evaluator.update({**batch, "wait_seconds": np.float32(1.0)})
    assert evaluator.result() == evaluator_of(*pair, [9]).result()


def test_examples_that_come_again_count_once(pair):
    evaluator = evaluator_of(*pair, [9])
    expected = evaluator.result()
    for batch in batches(*pair, [2, 7]):
        evaluator.update(batch)
    assert evaluator.result() == expected


@pytest.mark.parametrize("name", ["detection_boxes", "detection_scores"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_detections_that_are_not_finite_are_an_error_and_padding_is_not(pair, name, value):
    (batch,) = batches(*pair, [9])
    batch[name][:, -1] = value  # padding
    CocoEvaluator(categories_of(pair[0])).update(batch)
    batch[name][3, 1] = value
    with pytest.raises(RunError, match="not finite"):
        CocoEvaluator(categories_of(pair[0])).update(batch)


def test_groundtruth_that_is_not_finite_is_named(pair):
    (batch,) = batches(*pair, [9])
    row = int(np.argmax(batch["num_groundtruth"]))
    batch["groundtruth_boxes"][row, 0, 2] = np.nan
    image_id = pair[0]["images"][row]["id"]
    with pytest.raises(RunError, match=rf"example {row} \(image id '{image_id}'\)"):
        CocoEvaluator(categories_of(pair[0])).update(batch)


def test_two_examples_with_one_image_id_are_an_error_that_names_it(pair):
    (batch,) = batches(*pair, [9])
    batch["source_id"][5] = batch["source_id"][2]
    evaluator = CocoEvaluator(categories_of(pair[0]))
    evaluator.update(batch)
    with pytest.raises(RunError, match=f"image id {batch['source_id'][2].decode()} comes 2 times, in examples 2 and 5"):
        evaluator.result()


def test_two_processes_with_the_same_example_are_an_error(pair):
    first, second = evaluator_of(*pair, [9]), evaluator_of(*pair, [1], order=[4])
    with pytest.raises(RunError, match=f"image id '{pair[0]['images'][4]['id']}' .example 4. was evaluated by two"):
        first.merge(second)


@pytest.mark.parametrize("strange", [b"", b"a.jpg", b"1.5", b"9" * 30, b"9" * 19])
def test_images_are_numbered_where_a_source_id_is_no_number(pair, strange, caplog):
    (batch,) = batches(*pair, [9])
    batch["source_id"][3] = strange
    evaluator = CocoEvaluator(categories_of(pair[0]))
    evaluator.update(batch)
    with caplog.at_level(logging.WARNING):
        evaluator.result()
        written = json.loads(evaluator.artefacts()["detections.json"])
    assert {entry["image_id"] for entry in written} == set(range(1, 10))
    assert [record.message.partition(" (")[0] for record in caplog.records] == [
        "image/source_id is not a number in 1 of 9 images"
    ]


def test_source_ids_with_leading_zeros_are_the_numbers_of_the_annotation_file(pair):
    (batch,) = batches(*pair, [9])
    batch["source_id"] = np.array([source_id.zfill(12) for source_id in batch["source_id"]], object)
    evaluator = CocoEvaluator(categories_of(pair[0]))
    evaluator.update(batch)
    assert evaluator.artefacts() == evaluator_of(*pair, [9]).artefacts()


def test_source_ids_may_come_as_an_array_of_bytes(pair):
    (batch,) = batches(*pair, [9])
    batch["source_id"] = batch["source_id"].astype("S")
    evaluator = CocoEvaluator(categories_of(pair[0]))
    evaluator.update(batch)
    assert evaluator.artefacts() == evaluator_of(*pair, [9]).artefacts()


def test_what_is_of_no_category_is_left_out(pair):
    groundtruth, results = pair
    fewer = {**groundtruth, "categories": groundtruth["categories"][2:]}
    wanted = [category["id"] for category in fewer["categories"]]
    evaluator = evaluator_of(fewer, results, [9])
    assert {r["category_id"] for r in json.loads(evaluator.artefacts()["detections.json"])} == set(wanted)
    evaluation, _ = plain_pycocotools(fewer, results)
    np.testing.assert_allclose(list(evaluator.result().values())[:12], evaluation.stats, atol=1e-9)


def test_categories_of_one_name_are_told_apart_by_their_ids(pair):
    evaluator = CocoEvaluator([(1, "crane"), (3, "crane"), (5, "stork")])
    for batch in batches(*pair, [9]):
        evaluator.update(batch)
    keys = [key for key in evaluator.result() if key.startswith("PerformanceByCategory/mAP/")]
    assert [key.rpartition("/")[2] for key in keys] == ["crane (1)", "crane (3)", "stork"]


def test_two_categories_with_one_id_are_an_error():
    with pytest.raises(ValueError, match="same id"):
        CocoEvaluator([(1, "a"), (1, "b")])


def test_nothing_is_printed(pair, capfd):
    evaluator = evaluator_of(*pair, [9])
    evaluator.result()
    evaluator.report()
    assert capfd.readouterr() == ("", "")


def test_each_metric_and_category_has_an_interval_that_holds_it(pair):
    evaluator = evaluator_of(*pair, [9])
    metrics, found = evaluator.result(), evaluator.statistics()["intervals"]
    assert set(found) == {name for name, value in metrics.items() if value >= 0} - {"images"}
    for name, (low, high) in found.items():
        assert low - 0.1 <= metrics[name] <= high + 0.1  # of nine images, some categories are in one
    classes = evaluator.details()["classes"]
    assert [row["interval"] is None for row in classes] == [row["average_precision"] < 0 for row in classes]


def test_intervals_depend_neither_on_order_nor_on_shards(pair):
    order = np.random.default_rng(1).permutation(9)
    parts = [evaluator_of(*pair, [2, 2], order=order[start::3]) for start in range(3)]
    for part in parts[1:]:
        parts[0].merge(part)
    assert parts[0].statistics() == evaluator_of(*pair, [9]).statistics()


def test_evaluations_during_training_leave_out_intervals_that_take_long(pair, monkeypatch):
    quick = CocoEvaluator(categories_of(pair[0]), quick=True)
    for batch in batches(*pair, [9]):
        quick.update(batch)
    assert quick.statistics() == evaluator_of(*pair, [9]).statistics()
    monkeypatch.setattr("object_detection.coco.evaluation.QUICK", 10)
    for batch in batches(*pair, [9]):
        quick.update(batch)
    assert quick.statistics() == {"intervals": {}}


def test_evaluations_during_training_leave_out_errors_that_take_long_to_sort(pair, monkeypatch):
    whole = evaluator_of(*pair, [9]).details()
    quick = CocoEvaluator(categories_of(pair[0]), quick=True)
    for batch in batches(*pair, [9]):
        quick.update(batch)
    assert quick.details(final=False) == quick.details() == whole
    monkeypatch.setattr("object_detection.coco.evaluation.QUICK", 10)
    assert whole.keys() - quick.details(final=False).keys() == {"errors", "error_pictures"}
    assert quick.details(final=True)["errors"] == whole["errors"]


def test_what_is_stored_by_image_gives_the_average_precision(pair):
    evaluator = evaluator_of(*pair, [9])
    image_ids, category_ids, table = detections_of(json.loads(json.dumps(evaluator.details())))
    assert image_ids.tolist() == sorted(image["id"] for image in pair[0]["images"])
    assert category_ids.tolist() == sorted(category["id"] for category in pair[0]["categories"])
    found = mean_over_categories(table.average_precision(np.ones([1, 9])).mean(axis=2))[0]
    assert found == pytest.approx(evaluator.result()["Precision/mAP"], abs=1e-6)
