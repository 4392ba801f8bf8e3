import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.records.example_proto import decode_example, encode_example


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


_ANY_FEATURES = st.dictionaries(
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


@settings(max_examples=50, deadline=None)
@given(_ANY_FEATURES)
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


@settings(max_examples=50, deadline=None)
@given(_ANY_FEATURES)
def test_what_tensorflow_writes_is_read_back(features):
    written = _with_tensorflow({name: value for name, value in features.items() if value != []})
    assert decode_example(written) == {
        name: value if isinstance(value, list) else [value] for name, value in features.items()
    }


def test_lists_that_are_not_packed_are_read_too():
    # Field 1 of an Int64List as single varints 3 and -1, and of a FloatList as single 4-byte numbers 0.5 and 2.
    integers = b"\x08\x03\x08" + b"\xff" * 9 + b"\x01"
    floats = b"\x0d\x00\x00\x00\x3f\x0d\x00\x00\x00\x40"
    entries = b""
    for name, field, content in ((b"i", 0x1A, integers), (b"f", 0x12, floats)):
        feature = bytes([field, len(content)]) + content
        entry = b"\x0a\x01" + name + bytes([0x12, len(feature)]) + feature
        entries += bytes([0x0A, len(entry)]) + entry
    message = bytes([0x0A, len(entries)]) + entries
    assert decode_example(message) == {"i": [3, -1], "f": [0.5, 2.0]}
    assert list(tf.train.Example.FromString(message).features.feature["i"].int64_list.value) == [3, -1]


@pytest.mark.parametrize(
    "data",
    [b"\xff\xff no message", b"\x0a\x05abc", b"\x0a", b"\x0b\x01", b"\x08\x01" + b"\xff" * 11, b"\x0a\x02\x08\x01\x0f"],
)
def test_what_is_no_message_is_refused(data):
    with pytest.raises(ValueError, match=r"field|number"):
        decode_example(data)


def test_a_feature_without_values_is_an_empty_list():
    example = tf.train.Example()
    example.features.feature["none"].SetInParent()
    example.features.feature["empty"].int64_list.SetInParent()
    assert decode_example(example.SerializeToString()) == {"none": [], "empty": []}


def test_an_empty_list_keeps_its_kind():
    example = tf.train.Example()
    example.features.feature["a"].int64_list.SetInParent()
    example.features.feature["b"].SetInParent()
    found = decode_example(example.SerializeToString())
    assert (found["a"], found["a"].kind) == ([], int)
    assert (found["b"], found["b"].kind) == ([], None)


@pytest.mark.parametrize(
    "data",
    [b"\x0a\x02\x3a\x00", b"\x0a\x05\x0a\x03\x0a\x01a", b"\x0a\x0f\x0a\x0d\x0a\x01a\x12\x08\x12\x06\x0a\x04\0\0\0"],
    ids=["an unknown field", "an entry without a value", "a list that ends inside"],
)
def test_what_tensorflows_parser_refuses_is_refused(data):
    with pytest.raises(ValueError, match=r"."):
        decode_example(data)
