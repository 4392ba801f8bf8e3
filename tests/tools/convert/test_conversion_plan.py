import pytest

from tools.convert.conversion_plan import check_shards, divide_evenly, shard_count, shard_name
from utils.errors import UsageError


@pytest.mark.parametrize(
    ("images", "customary", "smallest", "shards"),
    [
        (118_287, 100, 200, 100),
        (5_000, 10, 200, 10),
        (20_288, 100, 200, 100),  # test-dev
        (20_288, 100, 250, 16),  # 20,288 / 1,250 = 16.2
        (1_999, 10, 200, 4),
        (292, None, 200, 1),
        (3, 10, 200, 1),
    ],
)
def test_well_known_sets_get_their_customary_number_of_shards(images, customary, smallest, shards):
    assert shard_count(images, customary, smallest=smallest) == shards


def test_runs_differ_by_one_at_most_and_cover_everything():
    runs = divide_evenly(11, 4)
    assert [list(run) for run in runs] == [[0, 1], [2, 3, 4], [5, 6, 7], [8, 9, 10]]


def test_shards_are_named_with_their_number_and_count():
    assert shard_name("out.record", 1, 2) == "out.record-00001-of-00002"


def test_no_shard_may_be_empty():
    assert check_shards("val_shards", 3, 3, "val") == 3
    with pytest.raises(UsageError, match="--val_shards 4: must be at most 3, the number of val images"):
        check_shards("val_shards", 4, 3, "val")
