"""The frames of a video are its pictures, upright, with their times; what is no video is told."""

from fractions import Fraction

import numpy as np
import pytest

from tests.utils.tiny_images import pattern
from utils.images.image_files import UnreadableImage
from utils.images.videos import frames_of, is_video

av = pytest.importorskip("av", reason="PyAV is not installed (requirements/video.txt)")
RATE = 4


def write_clip(path, count=5, codec="mpeg4"):
    """A clip of a smooth picture that grows brighter, with a frame each quarter of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 96, 64, "yuv420p", 4_000_000
        stream.time_base = Fraction(1, RATE)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def picture(number):
    return (pattern(64, 96) // 2 + 20 * number).astype(np.uint8)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.AVI", "clip.mkv"])
def test_each_frame_is_read_with_its_number_and_time(tmp_path, name):
    path = write_clip(tmp_path / name.lower()).rename(tmp_path / name)
    assert is_video(path)
    frames = list(frames_of(path))
    assert [frame.number for frame in frames] == list(range(5))
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.25, 0.5, 0.75, 1.0], abs=0.002)
    for frame in frames:
        assert (frame.rgb.shape, frame.rgb.dtype) == ((64, 96, 3), np.uint8)
        assert np.abs(frame.rgb.astype(int) - picture(frame.number)).mean() < 12


def test_a_file_that_is_no_video_or_ends_early_is_told(tmp_path):
    (tmp_path / "words.mp4").write_text("words")
    with pytest.raises(UnreadableImage, match="does not decode"):
        list(frames_of(tmp_path / "words.mp4"))
    with pytest.raises(UnreadableImage, match="does not decode"):
        list(frames_of(tmp_path / "missing.mp4"))
    whole = write_clip(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableImage):
        list(frames_of(tmp_path / "half.mp4"))


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        samples.rate = 8000
        container.mux(stream.encode(samples))
        container.mux(stream.encode())
    with pytest.raises(UnreadableImage, match="holds no frame of a video"):
        list(frames_of(tmp_path / "sound.mp4"))
