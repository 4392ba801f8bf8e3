"""Damaged pipeline configs and label maps are read or refused with a sentence that names the file."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from object_detection.label_map import COCO_LABEL_MAP, read_label_map
from object_detection.pipeline.config import load_pipeline, to_experiment
from tests.object_detection.pipeline.pipelines import CONFIGS
from utils.config import RunConfig
from utils.errors import RunError, UsageError

CONFIG = (CONFIGS / "ssd320_full_1gpus.config").read_bytes()
PIECES = st.one_of(
    st.binary(max_size=8),
    st.sampled_from([b"{", b"}", b"<", b"[", b'"', b"'", b"\\", b"#", b"-", b"\0", b"\xef\xbb\xbf", b"9" * 5000]),
    st.sampled_from([b"{" * 5000, b"1e999", b"nan", b"-0", b"\n=======\n", b"item {", b"\xed\xa0\x80", b"\\uD800"]),
    st.integers(0, len(CONFIG) - 60).map(lambda place: CONFIG[place : place + 60]),
)


@st.composite
def damaged(draw, content):
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(content)))
        content = content[:place] + draw(PIECES) + content[place + draw(st.integers(0, 30)) :]
    return content


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "file"


def is_read_or_refused(read, file, content):
    file.write_bytes(content)
    try:
        read(file)
    except (RunError, UsageError) as error:
        return str(error).startswith(str(file)) and len(str(error)) < 2000
    return True


@settings(max_examples=80, deadline=None)
@given(content=damaged(CONFIG))
def test_a_damaged_config_is_read_or_refused(content, file):
    def read(path):
        to_experiment(load_pipeline(str(path)), run=RunConfig(mode="train"))

    assert is_read_or_refused(read, file, content)


@settings(max_examples=80, deadline=None)
@given(content=damaged(COCO_LABEL_MAP.read_bytes()[:2000]))
def test_a_damaged_label_map_is_read_or_refused(content, file):
    assert is_read_or_refused(read_label_map, file, content)
