import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.conversion.example_proto import encode_example


def _with_tensorflow(features):
    example = tf.train.Example()
    for name, value in features.items():
        feature = example.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif isinstance(value, list) and isinstance(value[0], bytes):
            feature.bytes_list.value.extend(value)
        elif isinstance(value, list) and isinstance(value[0], float):
            feature.float_list.value.extend(value)
        else:
            feature.int64_list.value.extend(value if isinstance(value, list) else [value])
    return example.SerializeToString(deterministic=True)


def test_equals_tensorflows_serialization_byte_for_byte():
    features = {
        "image/encoded": bytes(range(256)) * 3,
        "image/height": 333,
        "image/class/label": [1, 1000, 2**40],
        "image/object/bbox/xmin": [0.0, 0.25, 1.0],
        "image/class/text": "crème brûlée".encode(),
        "image/object/class/text": [b"cat", b"", b"dog"],
        "empty": b"",
        "zero": 0,
        "negative": -1,
    }
    assert encode_example(features) == _with_tensorflow(features)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=200),
        st.one_of(
            st.binary(max_size=300),
            st.integers(-(2**63), 2**63 - 1),
            st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30),
            st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=30),
            st.lists(st.binary(max_size=30), min_size=1, max_size=5),
        ),
        max_size=6,
    )
)
def test_tensorflow_reads_any_features_back(features):
    example = tf.train.Example.FromString(encode_example(features))
    assert set(example.features.feature) == set(features)
    for name, value in features.items():
        feature = example.features.feature[name]
        read = list(getattr(feature, feature.WhichOneof("kind")).value)
        expected = value if isinstance(value, list) else [value]
        assert read == expected or np.array_equal(read, expected)


def test_empty_lists_are_left_out():
    assert encode_example({"a": [], "b": 1, "c": []}) == encode_example({"b": 1})
    assert encode_example({"a": []}) == tf.train.Example(features=tf.train.Features()).SerializeToString()
