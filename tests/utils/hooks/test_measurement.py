"""Throughput is images divided by elapsed time; latencies are those of batches."""

import numpy as np
import pytest

from tests.utils.hooks.steps import step
from utils.hooks.measurement import MeasurementHook, RateHook


def measured(batch_size, warmup, *records):
    hook = MeasurementHook(batch_size, warmup)
    for record in records:
        hook.after_step(record)
    return hook.result("eval")


def test_throughput_is_not_a_mean_of_rates():
    result = measured(8, 0, step(1, seconds=1.0), step(2, seconds=3.0))
    assert result["eval_throughput"] == 4.0  # 16 images in 4 s; the mean of 8 and 8/3 would be 5.33


def test_the_warmup_is_left_out():
    result = measured(8, 2, step(1, seconds=100, run_seconds=90), step(2, seconds=50, run_seconds=40), step(3))
    assert result["eval_throughput"] == 8.0
    assert result["eval_latency_avg"] == 1000.0


def test_latencies_are_of_the_session_in_milliseconds():
    times = [0.004, 0.001, 0.010, 0.002, 0.003]
    result = measured(1, 0, *[step(i, run_seconds=t, seconds=1.0) for i, t in enumerate(times)])
    assert result["eval_latency_avg"] == pytest.approx(4.0)
    assert result["eval_latency_p50"] == pytest.approx(3.0)
    assert result["eval_latency_p90"] == pytest.approx(7.6)  # linear between 4 and 10: place 3.6 of 0..4
    assert result["eval_latency_p95"] == pytest.approx(8.8)
    assert result["eval_latency_p99"] == pytest.approx(9.76)


def test_the_share_of_waiting_is_of_elapsed_time():
    result = measured(1, 0, step(1, seconds=2.0, wait_seconds=0.5), step(2, seconds=6.0, wait_seconds=1.5))
    assert result["input_wait_share"] == 0.25


def test_batches_of_skipped_steps_count():
    assert measured(4, 0, step(1), step(1), step(2))["eval_throughput"] == 4.0


def test_nothing_after_the_warmup_gives_no_figures():
    assert measured(4, 2, step(1), step(2)) == {}
    assert MeasurementHook(4, 0).result("train") == {}


def test_the_kind_names_the_keys():
    hook = MeasurementHook(4, 0)
    hook.after_step(step(1))
    latencies = {f"train_latency_{name}" for name in ("avg", "p50", "p90", "p95", "p99")}
    assert set(hook.result("train")) == {"train_throughput", "input_wait_share"} | latencies
    assert all(type(value) is float for value in hook.result("train").values())


def test_a_rate_counts_since_it_was_last_asked():
    rate = RateHook(10)
    rate.after_step(step(1, seconds=1.0, wait_seconds=0.5))
    rate.after_step(step(2, seconds=4.0, wait_seconds=1.5))
    assert rate.take("ips") == {"ips": 4.0, "input_wait_share": 0.4}
    rate.after_step(step(3, seconds=np.float64(0.5), wait_seconds=0.0))
    assert rate.take("ips") == {"ips": 20.0, "input_wait_share": 0.0}
