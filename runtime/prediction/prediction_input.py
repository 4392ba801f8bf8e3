"""The pictures to predict on, in the pieces that the network sees: whole images, tiles, frames of videos (no TF)."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from utils.images.image_files import UnreadableImage, load_rgb, read_header
from utils.images.tiles import MOST_TILES, Tile, Tiling
from utils.images.videos import frames_of, is_video
from utils.prediction_config import PredictionConfig
from utils.text import plural

READERS = 4
READ_AHEAD = 64
_LIES_ON_ITS_SIDE = 5  # the first EXIF orientation that swaps height and width


class Picture(NamedTuple):
    """An image, or a frame of a video.

    Attributes:
        file: Number of its file.
        size_px: Height and width.
        error: The reason why it cannot be read, or empty.
        frame: Number of the frame in a video, from 0; None for an image.
        time_s: Time of the frame in seconds, if the video says it.
        encoded: The frame to draw into; empty unless it is drawn.
    """

    file: int
    size_px: tuple[int, int] = (0, 0)
    error: str = ""
    frame: int | None = None
    time_s: float | None = None
    encoded: bytes = b""

    @property
    def key(self) -> tuple[int, int]:
        """Orders pictures by file and frame."""
        return self.file, self.frame or 0


class Piece(NamedTuple):
    """A part of a picture that the network sees at once; the last one of the picture says so."""

    picture: Picture
    tile: Tile
    is_last: bool


class PieceReader:
    """Reads files ahead in threads and yields their encoded pieces in order; empty bytes for unreadable pictures.

    Args:
        files: All files.
        numbers: Numbers of the files to read.
        options: Tiles and frames.
    """

    def __init__(self, files: Sequence[Path], numbers: Sequence[int], options: PredictionConfig) -> None:
        self._files = files
        self._numbers = numbers
        self._tiling = options.tiling
        self._keeps_frames = options.draw_frames
        self._pieces: dict[int, Piece] = {}

    def __iter__(self) -> Iterator[bytes]:
        for place, (piece, encoded) in enumerate(self._cut(self._pictures())):
            self._pieces[place] = piece
            yield encoded

    def take(self, place: int) -> Piece:
        """The piece that was yielded at this place, from 0; it can be taken once."""
        return self._pieces.pop(place)

    def _pictures(self) -> Iterator[tuple[Picture, bytes]]:
        with ThreadPoolExecutor(READERS) as pool:
            pending: deque[tuple[int, Future[tuple[Picture, bytes]] | None]] = deque()
            for number in self._numbers:
                is_image = not is_video(self._files[number])
                pending.append((number, pool.submit(self._read, number) if is_image else None))
                if len(pending) > READ_AHEAD:
                    yield from self._found(*pending.popleft())
            while pending:
                yield from self._found(*pending.popleft())

    def _found(self, number: int, image: Future[tuple[Picture, bytes]] | None) -> Iterable[tuple[Picture, bytes]]:
        return self._frames(number) if image is None else [image.result()]

    def _read(self, number: int) -> tuple[Picture, bytes]:
        try:
            image = load_rgb(self._files[number])
            return Picture(number, (image.height, image.width)), image.data
        except UnreadableImage as error:
            return Picture(number, error=error.reason), b""

    def _frames(self, number: int) -> Iterator[tuple[Picture, bytes]]:
        """The frames of a video; after a damaged place, a picture that states the reason."""
        following = 0
        try:
            for frame in frames_of(self._files[number]):
                encoded, (height, width) = _as_png(Image.fromarray(frame.rgb)), frame.rgb.shape[:2]
                kept = encoded if self._keeps_frames else b""
                yield Picture(number, (height, width), "", frame.number, frame.time_s, kept), encoded
                following = frame.number + 1
        except UnreadableImage as error:
            yield Picture(number, error=error.reason, frame=following), b""

    def _cut(self, pictures: Iterable[tuple[Picture, bytes]]) -> Iterator[tuple[Piece, bytes]]:
        for picture, encoded in pictures:
            count = 1 if picture.error or self._tiling is None else self._tiling.count(*picture.size_px)
            if count > MOST_TILES:
                error = f"takes {count:,} tiles, more than {MOST_TILES:,}; give larger --tiles or less --tile_overlap"
                picture, encoded, count = picture._replace(error=error), b"", 1
            if count == 1 or self._tiling is None:
                yield Piece(picture, Tile(0, 0, *picture.size_px), is_last=True), encoded
            else:
                yield from _tiles(picture, encoded, self._tiling)


def _tiles(picture: Picture, encoded: bytes, tiling: Tiling) -> Iterator[tuple[Piece, bytes]]:
    tiles = tiling.tiles(*picture.size_px)
    with Image.open(io.BytesIO(encoded)) as image:
        for number, tile in enumerate(tiles, start=1):
            part = image.crop((tile.left, tile.top, tile.left + tile.width, tile.top + tile.height))
            yield Piece(picture, tile, is_last=number == len(tiles)), _as_png(part)


def _as_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def count_pieces(files: Sequence[Path], tiling: Tiling | None) -> int | None:
    """The number of pieces in files, by the headers of images; None if there are videos, whose frames nobody counts."""
    if any(map(is_video, files)):
        return None
    return len(files) if tiling is None else sum(_tiles_in(path, tiling) for path in files)


def _tiles_in(path: Path, tiling: Tiling) -> int:
    header = read_header(path)
    if header is None:
        return 1
    sides = header.height, header.width
    count = tiling.count(*(sides if header.orientation < _LIES_ON_ITS_SIDE else sides[::-1]))
    return count if count <= MOST_TILES else 1


def planned(files: Sequence[Path], options: PredictionConfig, batch_size: int, processes: int) -> str:
    """The number of pictures and batches in words."""
    videos, pieces = sum(map(is_video, files)), count_pieces(files, options.tiling)
    kinds = ((len(files) - videos, "image"), (videos, "video"), (pieces if options.tiling else 0, "tile"))
    counts = ", ".join(plural(number, kind) for number, kind in kinds if number)
    if pieces is None:
        return f"{counts} in batches of {batch_size}"
    return f"{counts} in {plural(-(-pieces // (batch_size * processes)), 'batch')} of {batch_size}"
