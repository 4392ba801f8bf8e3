"""The pieces of pictures that the network sees: whole images byte for byte, and tiles pixel for pixel."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from runtime.prediction import prediction_input
from runtime.prediction.images_to_predict import images_to_predict
from runtime.prediction.prediction_input import PieceReader, count_pieces, planned
from tests.utils.tiny_images import encoded, pattern
from utils.config import RunConfig
from utils.errors import UsageError
from utils.images import videos
from utils.images.image_files import UnreadableImage
from utils.images.tiles import Tile, Tiling
from utils.images.videos import VideoFrame
from utils.prediction_config import PredictionConfig

TILED = PredictionConfig(tiles=32, tile_overlap=0.5)


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def read(files, options=TILED, numbers=None):
    """The pieces and their bytes, in order."""
    reader = PieceReader(files, range(len(files)) if numbers is None else numbers, options)
    return [(reader.take(place), data) for place, data in enumerate(reader)]


@pytest.fixture
def files(tmp_path):
    """A picture of six tiles, one of a single tile, a photograph on its side, and no image."""
    contents = {
        "a.png": encoded(pattern(40, 60)),
        "b.png": encoded(pattern(20, 32)),
        "c.jpg": encoded(pattern(24, 50), "JPEG", exif=exif(6)),
        "d.png": b"none",
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    return sorted(tmp_path.iterdir())


def exif(orientation):
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def test_tiles_show_their_part_of_the_picture(files):
    found = read(files)
    assert [piece.picture.file for piece, _ in found] == [0] * 6 + [1] + [2] * 3 + [3]
    assert [piece.is_last for piece, _ in found] == [False] * 5 + [True, True] + [False] * 2 + [True, True]
    for piece, data in found[:6]:
        tile = piece.tile
        part = pattern(40, 60)[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
        assert np.array_equal(pixels(data), part)
    assert [piece.tile for piece, _ in found[:6]] == Tiling(32, 0.5).tiles(40, 60)
    assert found[6] == ((found[6][0].picture, Tile(0, 0, 20, 32), True), files[1].read_bytes())
    assert found[7][0].picture.size_px == (50, 24), "upright"
    assert (found[-1][0].picture.error, found[-1][1]) == ("is not an image of a known kind", b"")


def test_without_tiles_images_pass_byte_for_byte(files):
    found = read(files, PredictionConfig(), numbers=[0, 1])
    assert [data for _, data in found] == [path.read_bytes() for path in files[:2]]
    assert [piece.tile for piece, _ in found] == [Tile(0, 0, 40, 60), Tile(0, 0, 20, 32)]
    assert all(piece.is_last for piece, _ in found)


def test_pieces_are_counted_by_the_headers_of_their_files(files, tmp_path):
    assert count_pieces(files, Tiling(32, 0.5)) == len(read(files)) == 11
    assert count_pieces(files, None) == 4
    assert planned(files, TILED, 4, 1) == "4 images, 11 tiles in 3 batches of 4"
    assert planned(files, PredictionConfig(), 2, 1) == "4 images in 2 batches of 2"
    clip = [*files, tmp_path / "clip.MP4"]
    assert count_pieces(clip, None) is None
    assert planned(clip, TILED, 4, 1) == "4 images, 1 video in batches of 4"


def test_a_picture_of_too_many_tiles_is_told_and_passed_over(files, monkeypatch):
    monkeypatch.setattr(prediction_input, "MOST_TILES", 5)
    (piece, data), *_ = read(files)
    assert (piece.is_last, data) == (True, b"")
    assert piece.picture.error == "takes 6 tiles, more than 5; give larger --tiles or less --tile_overlap"
    assert count_pieces(files[:1], Tiling(32, 0.5)) == 1


def test_frames_are_pictures_and_a_damaged_place_is_told_after_them(files, tmp_path, monkeypatch):
    def frames(path):
        yield VideoFrame(0, 0.0, pattern(20, 32))
        yield VideoFrame(1, 0.04, pattern(40, 60))
        raise UnreadableImage(str(path), "does not decode (cut)")

    monkeypatch.setattr(prediction_input, "frames_of", frames)
    found = read([files[1], tmp_path / "clip.mp4"], PredictionConfig(tiles=32, draw_frames=True))
    pictures = [piece.picture for piece, _ in found]
    assert [picture.key for picture in pictures] == [(0, 0), (1, 0), *[(1, 1)] * 6, (1, 2)]
    assert [picture.time_s for picture in pictures[1:3]] == [0.0, 0.04]
    assert np.array_equal(pixels(found[1][1]), pattern(20, 32))
    assert np.array_equal(pixels(pictures[2].encoded), pattern(40, 60)), "to be drawn into"
    assert (pictures[-1].error, found[-1][1]) == ("does not decode (cut)", b"")
    plain = read([tmp_path / "clip.mp4"], PredictionConfig())
    assert [piece.picture.encoded for piece, _ in plain] == [b""] * 3


def test_a_video_without_the_package_for_it_says_how_to_install_it(tmp_path, monkeypatch):
    (tmp_path / "clip.mp4").touch()
    monkeypatch.setattr(videos.importlib.util, "find_spec", lambda name: None)
    told = f"--to_predict {tmp_path}/clip.mp4: is a video, and PyAV, which reads videos, is not installed: python -m"
    with pytest.raises(UsageError, match=re.escape(told)):
        images_to_predict(RunConfig(mode="predict", to_predict=str(tmp_path / "*.mp4"), results_dir=str(tmp_path)))
