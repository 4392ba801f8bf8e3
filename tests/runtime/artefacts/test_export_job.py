"""The graphs that formats are written from, on a machine with a GPU."""

import pytest
import tensorflow as tf

from runtime.artefacts import export_job
from runtime.artefacts.export_job import ExportJob, ExportOptions
from runtime.artefacts.formats import FORMATS
from runtime.inference.network import network_with_variables
from runtime.task import Setup
from tests.gpu.graphs import EVALUATION, Case, gpu_setup
from tests.runtime.runs import tiny_networks

tf1 = tf.compat.v1


def initial_weights(setup: Setup, prefix):
    with tf.Graph().as_default(), tf1.Session() as session:
        side = setup.config.model.image_size
        weights = network_with_variables(setup.task, tf1.placeholder(tf.float32, [None, side, side, 3])).weights
        session.run(weights.initializer)
        return session.run({v.op.name: v for v in weights.variables})


@pytest.mark.parametrize(
    ("case", "portable", "only_on_gpus"),
    [
        (Case("resnet18", "float32", EVALUATION, ("--quantize",)), "FakeQuantWithMinMaxVars", "Floor"),
        (Case("ssd320", "float32", EVALUATION), "CombinedNonMaxSuppression", "StatelessWhile"),
    ],
    ids=["quantized", "detector"],
)
def test_artefacts_of_a_machine_with_a_gpu_have_the_operations_that_converters_read(
    case, portable, only_on_gpus, monkeypatch, tmp_path
):
    monkeypatch.setattr(export_job, "read_weights", initial_weights)
    monkeypatch.setattr(Setup, "required_checkpoint", tmp_path)
    row = FORMATS["frozen"]
    with tiny_networks():
        setup = gpu_setup(case)
        job = ExportJob(setup, None, ExportOptions(formats=(row.name,), folder=tmp_path), {row.graph})
        with tf.Graph().as_default() as graph:
            side = setup.config.model.image_size
            network = network_with_variables(setup.task, tf.zeros([1, side, side, 3]))
            setup.task.post_processing.predictions(network.endpoints)
    exported = {node.op for node in job.graph(row).graph_def.node}
    assert portable in exported
    assert only_on_gpus not in exported
    here = {op.type for op in graph.get_operations()}
    assert portable not in here
    assert only_on_gpus in here
