"""Tiles cover every pixel of a picture, stay inside, and overlap by at least the share that was asked for."""

import itertools

import numpy as np
import pytest

from utils.errors import UsageError
from utils.images.tiles import Tile, Tiling
from utils.prediction_config import PredictionConfig


@pytest.mark.parametrize(("height", "width"), [(320, 320), (321, 1000), (100, 1001), (1280, 960), (1, 5000)])
@pytest.mark.parametrize(("side", "overlap"), [(320, 0.0), (320, 0.2), (100, 0.5), (64, 0.95)])
def test_tiles_cover_a_picture_and_overlap(height, width, side, overlap):
    tiling = Tiling(side, overlap)
    tiles = tiling.tiles(height, width)
    assert len(tiles) == tiling.count(height, width) == len(set(tiles))
    assert {(tile.height, tile.width) for tile in tiles} == {(min(side, height), min(side, width))}
    seen = np.zeros([height, width], bool)
    for tile in tiles:
        assert tile.top + tile.height <= height
        assert tile.left + tile.width <= width
        seen[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width] = True
    assert seen.all()
    for starts in (sorted({tile.top for tile in tiles}), sorted({tile.left for tile in tiles})):
        assert all(start + side - following >= side * overlap for start, following in itertools.pairwise(starts))


def test_the_fewest_tiles_are_spread_evenly_row_by_row():
    lefts = [tile.left for tile in Tiling(320, 0.2).tiles(320, 1000)]
    assert lefts == [0, 226, 453, 680]  # three tiles at a distance of at most 256 would reach 832
    corners = [(tile.top, tile.left) for tile in Tiling(50, 0.0).tiles(100, 60)]
    assert corners == [(0, 0), (0, 10), (50, 0), (50, 10)]


def test_a_picture_smaller_than_a_tile_is_one_tile():
    assert Tiling(320, 0.5).tiles(200, 320) == [Tile(0, 0, 200, 320)]


def test_values_out_of_range_and_an_overlap_of_nothing_are_refused():
    for given, message in (
        ({"tiles": 31}, "--tiles 31: must be 32 to 16384 pixels"),
        ({"tiles": 16385}, "--tiles 16385: must be 32 to 16384 pixels"),
        ({"tiles": 64, "tile_overlap": 1.0}, "--tile_overlap 1: must be at least 0 and below 1"),
        ({"tiles": 64, "tile_overlap": -0.1}, "--tile_overlap -0.1: must be at least 0 and below 1"),
        ({"tiles": 64, "tile_overlap": float("nan")}, "--tile_overlap nan: must be at least 0 and below 1"),
        ({"tile_overlap": 0.3}, "--tile_overlap 0.3: only used with --tiles, which is not given"),
    ):
        with pytest.raises(UsageError, match=message):
            PredictionConfig(**given)
    assert PredictionConfig(tiles=64).tiling == Tiling(64, 0.2)
    assert PredictionConfig().tiling is None
