"""The scaling model against arithmetic by hand."""

import pytest

from tools.measure.scaling_model import Cluster, Work, exchange_s, main, predict, ring_s

CLUSTER = Cluster(gpus_per_node=8, node_bandwidth=100e9, network_bandwidth=10e9, latency_s=0.0)
WORK = Work(batch_size=100, compute_s=0.1, gradient_bytes=200e6, overlap=0.5)
FLAGS = {
    **{"images_per_s": 1000, "batch_size": 100, "parameters": 50e6, "gpus_per_node": 8},
    **{"node_gb_s": 100, "network_gb_s": 10, "latency_us": 0},
}


def run(**changes):
    return main([f"--{name}={value}" for name, value in (FLAGS | changes).items() if value is not None])


def test_a_ring_moves_all_but_its_own_share_twice():
    # 2 x 3/4 x 100 MB at 10 GB/s = 15 ms; 2 x 3 hops of 1 ms for each of 2 buffers = 12 ms
    assert ring_s(4, 100e6, 10e9, 0.0, 1) == pytest.approx(0.015)
    assert ring_s(4, 100e6, 10e9, 0.001, 2) == pytest.approx(0.027)
    assert ring_s(1, 100e6, 10e9, 0.001, 2) == 0.0


@pytest.mark.parametrize(
    ("gpus", "seconds"),
    [
        (1, 0.0),
        (4, 0.003),  # 2 x 3/4 x 200 MB at 100 GB/s
        (8, 0.0035),  # 2 x 7/8 x 200 MB at 100 GB/s
        (16, 0.0235),  # and 2 x 1/2 x 200 MB at 10 GB/s
        (64, 0.0385),  # and 2 x 7/8 x 200 MB at 10 GB/s
        (512, 0.042875),  # and 2 x 63/64 x 200 MB at 10 GB/s
    ],
)
def test_gradients_are_summed_within_nodes_and_between_them(gpus, seconds):
    assert exchange_s(gpus, CLUSTER, WORK) == pytest.approx(seconds, rel=1e-12)


def test_hops_cost_latency_for_each_buffer():
    # 200 MB are 3 buffers of 64 MiB; 2 x 7 hops inside and 2 x 7 between 8 nodes, each 1 ms
    slow = Cluster(gpus_per_node=8, node_bandwidth=100e9, network_bandwidth=10e9, latency_s=0.001)
    assert exchange_s(64, slow, WORK) == pytest.approx(0.0385 + 3 * 28 * 0.001, rel=1e-12)


def test_what_hides_behind_computing_costs_nothing_and_the_rest_is_added():
    hidden = predict(512, CLUSTER, WORK)
    assert (hidden.step_s, hidden.efficiency) == (0.1, 1.0)  # 42.9 ms of the 50 ms that can overlap
    assert hidden.images_per_s == pytest.approx(512_000)
    bare = predict(512, CLUSTER, Work(batch_size=100, compute_s=0.1, gradient_bytes=200e6, overlap=0.25))
    assert bare.step_s == pytest.approx(0.1 + 0.042875 - 0.025)
    assert bare.efficiency == pytest.approx(0.1 / 0.117875)
    assert bare.images_per_s == pytest.approx(512 * 100 / 0.117875)


def test_what_one_measured_node_lacks_every_node_lacks():
    # 8 x 100 images at 6,400/s take 125 ms, 25 ms more than the model's 100 ms
    assert predict(8, CLUSTER, WORK, 6400).step_s == pytest.approx(0.125)
    assert predict(512, CLUSTER, WORK, 6400).step_s == pytest.approx(0.125)
    assert predict(4, CLUSTER, WORK, 6400).step_s == pytest.approx(0.1)


def test_the_command_prints_a_table_of_8_64_and_512_gpus(capsys):
    assert run(overlap=0) == 0
    assert capsys.readouterr().out.splitlines() == [
        "| GPUs | averaging | step | images/s | efficiency |",
        "|---|---|---|---|---|",
        "| 8 | 3.5 ms | 103.5 ms | 7,729 | 0.97 |",  # 800 / 0.1035
        "| 64 | 38.5 ms | 138.5 ms | 46,209 | 0.72 |",  # 6,400 / 0.1385
        "| 512 | 42.9 ms | 142.9 ms | 358,355 | 0.70 |",  # 51,200 / 0.142875
    ]


def test_half_the_bytes_take_half_the_time(capsys):
    assert run(overlap=0, bytes_per_gradient=2, gpus=8) == 0
    assert "| 8 | 1.8 ms | 101.8 ms |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overlap": 1.5}, "--overlap 1.5: must be at most 1"),
        ({"overlap": -1}, "--overlap -1.0: must be 0 or more"),
        ({"latency_us": -1}, "--latency_us -1.0: must be 0 or more"),
        ({"network_gb_s": 0}, "--network_gb_s 0.0: must be positive"),
        ({"images_per_s": "nan"}, "--images_per_s nan: must be positive"),
        ({"node_images_per_s": "inf"}, "--node_images_per_s inf: must be positive"),
        ({"gpus": 12}, "--gpus 12: must be at most --gpus_per_node 8, or a multiple of it"),
        ({"gpus": 0}, "--gpus 0: must be positive"),
    ],
)
def test_what_cannot_be_is_refused(capsys, changes, message):
    assert run(**changes) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_what_was_not_measured_here_has_no_default(capsys):
    for name in ("images_per_s", "batch_size", "parameters", "gpus_per_node", "node_gb_s", "network_gb_s"):
        with pytest.raises(SystemExit):
            run(**{name: None})
        assert f"--{name}" in capsys.readouterr().err
