import io

import numpy as np
import pytest
from PIL import Image

from tools.convert.png import encode_png


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_pixels_come_back_as_they_were(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with Image.open(io.BytesIO(encode_png(pixels))) as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), pixels)
