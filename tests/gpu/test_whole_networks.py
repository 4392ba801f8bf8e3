"""Every network as it is, placed on a GPU by the kernels that TensorFlow's CUDA build registers."""

import pytest

from tests.gpu.graphs import EVALUATION, NETWORKS, PRECISIONS, PREDICTION, TRAINING, Case, build
from tests.gpu.kernels import registered_kernels
from tests.gpu.placement import audit, operations

ALL_WAYS = ("resnet50", "ssd320")  # in all precisions, layouts and kinds of graph
CASES = [
    *(Case(network, "float16", kind) for network in NETWORKS for kind in (TRAINING, EVALUATION)),
    *(
        Case(network, precision, kind, (f"--data_format={layout}",))
        for network in ALL_WAYS
        for precision in PRECISIONS
        for kind in (TRAINING, EVALUATION, PREDICTION)
        for layout in ("NHWC", "NCHW")
    ),
    Case("se-resnext101-32x4d", "float16", TRAINING, ("--quantize",)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_step_runs_on_the_gpu_and_hardly_waits_for_the_host(case):
    graph, fetches = build(case)
    found = audit(graph, fetches, registered_kernels(operations(graph, fetches)))
    assert found.without_kernel == {}
    assert len(found.copies) <= case.copies, found.copies
