"""One spelling of a metric on the console and in reports."""

from utils.metric_names import heading, interval_of


def test_headings_are_the_terms_of_the_field():
    keys = ("top1_accuracy", "top5_accuracy", "Precision/mAP", "Precision/mAP@.50IOU", "Recall/AR@100 (small)")
    assert [heading(key) for key in keys] == ["top-1", "top-5", "AP", "AP50", "AR small"]
    assert [heading(key) for key in ("total_loss", "cross_entropy", "l2_loss")] == ["loss", "cross entropy", "L2 loss"]


def test_speeds_have_their_unit():
    keys = ("throughput", "train_throughput", "latency_avg", "eval_latency_avg", "eval_latency_p95")
    names = [
        "images/s",
        "images/s in training",
        "ms a batch",
        "ms a batch in evaluation",
        "p95 ms a batch in evaluation",
    ]
    assert [heading(key) for key in keys] == names


def test_an_interval_is_read_from_a_record_if_it_is_one():
    record = {"intervals": {"a": [0.25, 0.5], "b": [1], "c": "odd"}}
    assert interval_of(record, "a") == (0.25, 0.5)
    assert [interval_of(record, key) for key in ("b", "c", "d")] == [None] * 3
    assert interval_of({"intervals": 3}, "a") is None
