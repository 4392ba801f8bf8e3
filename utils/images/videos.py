"""The frames of videos, read by PyAV (no TF)."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from utils.errors import UsageError
from utils.images.image_files import UnreadableImage

VIDEO_SUFFIXES = frozenset((".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"))
INSTALL = "python -m pip install -r requirements/video.txt"


class VideoFrame(NamedTuple):
    """A frame of a video.

    Attributes:
        number: Its number, from 0.
        time_s: The time at which it is shown, in seconds; None if the file does not say.
        rgb: [H, W, 3] uint8, upright.
    """

    number: int
    time_s: float | None
    rgb: np.ndarray


def is_video(path: Path) -> bool:
    """Returns whether a file is a video, by its suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def require_reader(path: Path) -> None:
    """Raises ``UsageError`` if the package that reads videos is missing."""
    if importlib.util.find_spec("av") is None:
        raise UsageError(f"--to_predict {path}: is a video, and PyAV, which reads videos, is not installed: {INSTALL}")


def frames_of(path: Path) -> Iterator[VideoFrame]:
    """Yields the frames of the first video stream of a file.

    Raises:
        UnreadableImage: The file is no video, or is damaged; maybe after its first frames.
    """
    import av

    number = -1
    try:
        with av.open(str(path)) as container:
            streams = container.streams.video
            for number, frame in enumerate(container.decode(streams[0]) if streams else ()):
                yield VideoFrame(number, frame.time, _upright(frame))
    except (av.FFmpegError, OSError) as error:
        raise UnreadableImage(str(path), f"does not decode ({error.strerror or error})") from error
    if number < 0:
        raise UnreadableImage(str(path), "holds no frame of a video")


def _upright(frame: Any) -> np.ndarray:
    """The pixels of a frame, turned by the angle that its file says, counterclockwise in steps of 90 degrees."""
    pixels: np.ndarray = frame.to_ndarray(format="rgb24")
    return np.rot90(pixels, round(frame.rotation / 90))
