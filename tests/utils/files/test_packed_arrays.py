import json

import numpy as np
import pytest

from utils.files.packed_arrays import packed, unpacked


def test_what_was_packed_is_unpacked():
    arrays = {"index": np.arange(-3, 300), "score": np.linspace(0, 1, 303), "none": np.zeros(303, bool)}
    content = json.loads(json.dumps(packed(arrays)))
    assert content["index"]["dtype"] == "<i2"  # 299 needs two bytes
    for name, values in unpacked(content, ("index", "score", "none")).items():
        assert np.array_equal(values, arrays[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"zlib": "AAAA"}, '"a" is no packed array'),
        ({"zlib": "no base64"}, '"a" is no packed array'),
        ({"length": 4}, "its data are not 4 numbers"),
        ({"length": 2}, "its data are not 2 numbers"),
        ({"dtype": "|O"}, "object of length 3 is not stored here"),
        ({"dtype": "strange"}, '"a" is no packed array'),
        ({"length": -1}, "must be 0 or more"),
    ],
)
def test_damage_is_a_sentence(change, message):
    content = packed({"a": np.arange(3)})
    content["a"] |= change
    with pytest.raises(ValueError, match=message):
        unpacked(content, ("a",))


def test_arrays_of_a_table_have_one_length():
    with pytest.raises(ValueError, match="a, b differ in length"):
        unpacked(packed({"a": np.arange(3), "b": np.arange(4)}), ("a", "b"))
