"""Records as inspections show them: as training reads them."""

import numpy as np
import pytest

from tests.utils.tiny_images import encoded, jpeg, pattern
from tools.inspect.stored_records import StoredRecord, stored_image
from utils.errors import RunError
from utils.records.example_proto import decode_example, encode_example


def record(data):
    return StoredRecord(0, decode_example(encode_example({"image/encoded": data})), "")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_shown_as_stored_since_its_boxes_refer_to_the_stored_pixels(orientation):
    image = stored_image(record(jpeg(orientation=orientation)))
    plain = stored_image(record(jpeg()))
    np.testing.assert_array_equal(np.asarray(image), np.asarray(plain))


def test_an_image_is_shown_in_colors_or_said_to_be_none():
    assert stored_image(record(encoded(pattern()[..., 0]))).mode == "RGB"
    with pytest.raises(RunError, match="does not decode"):
        stored_image(record(b"nothing"))
