"""What TensorFlow's optimizer makes of training graphs for cards that are not there."""

from collections import Counter

import pytest
import tensorflow as tf

from tests.gpu.graphs import PRECISIONS, TRAINING, Case, build
from tests.gpu.grappler import CARDS, optimized
from tests.gpu.kernels import registered_kernels
from tests.runtime.runs import tiny_networks

CONVOLUTIONS = ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter")
NORMS = ("FusedBatchNormV3", "_FusedBatchNormEx", "FusedBatchNormGradV3", "_FusedBatchNormGradEx")


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("architecture", ["resnet50", "ssd320"])
def test_convolutions_get_the_layout_of_tensor_cores_in_half_precision(architecture, precision, layout):
    with tiny_networks():
        graph, fetches = build(Case(architecture, precision, TRAINING, (f"--data_format={layout}",)))
    before = Counter(node.op for node in graph.as_graph_def().node)
    kernels = registered_kernels(before)
    for card in CARDS:
        if (card, precision) == ("V100", "bfloat16"):  # which it cannot compute
            continue
        nodes = optimized(graph, fetches, kernels, card).node
        layouts = {node.attr["data_format"].s.decode() for node in nodes if node.op in CONVOLUTIONS + NORMS}
        assert layouts == {"NCHW" if precision == "float32" else "NHWC"}, card
        types = {tf.as_dtype(node.attr["T"].type).name for node in nodes if node.op in CONVOLUTIONS}
        assert types == {precision}
        after = Counter(node.op for node in nodes)
        assert after["Cast"] <= before["Cast"]
        if precision != "float32":
            assert after["Transpose"] <= before["Transpose"]
