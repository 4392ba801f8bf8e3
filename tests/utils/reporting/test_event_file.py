"""The contents of TensorBoard event files."""

import io

import numpy as np
import tensorflow as tf
from PIL import Image

from utils.reporting.event_file import EventFile, has_events, write_event

tf1 = tf.compat.v1


def events(folder):
    return [event for path in sorted(folder.iterdir()) for event in tf1.train.summary_iterator(str(path))]


def test_a_picture_comes_back_with_its_size_and_colors(tmp_path):
    picture = Image.new("RGB", (40, 24), (200, 30, 60))
    write_event(tmp_path, 12, {"loss": 0.5}, {"examples/3": picture})
    (scalars, pictures) = [event for event in events(tmp_path) if event.summary.value]
    assert (scalars.step, scalars.summary.value[0].simple_value) == (12, 0.5)
    (value,) = pictures.summary.value
    assert (pictures.step, value.tag, value.image.width, value.image.height) == (12, "examples/3", 40, 24)
    with Image.open(io.BytesIO(value.image.encoded_image_string)) as image:
        assert image.size == (40, 24)
        assert np.abs(np.asarray(image, int) - (200, 30, 60)).max() < 8


def test_a_graph_has_its_operations_and_shapes_without_large_constants(tmp_path):
    assert not has_events(tmp_path)
    large = np.random.default_rng(0).normal(size=[100, 200]).astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec([100], tf.float32)])
    def inner(x):
        return tf.linalg.matvec(tf.constant(large.T, name="inside"), x)

    with tf.Graph().as_default() as graph:
        x = tf1.placeholder(tf.float32, [100], name="x")
        tf.add(inner(x), tf.constant(large, name="large")[0], name="sum")
        tf.constant([1.5, 2.5], name="small")
        written = EventFile(tmp_path)
        written.add_graph(graph)
        written.close()
    assert has_events(tmp_path)
    (event,) = [event for event in events(tmp_path) if event.graph_def]
    assert len(event.graph_def) < 8000 < large.nbytes
    definition = tf1.GraphDef.FromString(event.graph_def)
    nodes = {node.name: node for node in definition.node}
    shape = nodes["large"].attr["value"].tensor.tensor_shape
    assert [size.size for size in shape.dim] == [100, 200]
    assert tf.make_ndarray(nodes["small"].attr["value"].tensor).tolist() == [1.5, 2.5]
    assert nodes["sum"].attr["_output_shapes"].list.shape[0].dim[0].size == 200
    assert tf.constant(large, name="again").numpy().tolist() == large.tolist()  # only a copy was emptied
