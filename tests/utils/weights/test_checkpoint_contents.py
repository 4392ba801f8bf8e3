"""Restored values, and the report of matching variables."""

from pathlib import Path

import pytest

from tests.utils.checkpoints.weights import Weights
from utils.errors import RunError
from utils.weights.checkpoint_contents import load_matched, match_variables, restore


def test_restoring_gives_back_the_values(save, weights, tmp_path):
    save(5, 6)
    restore(weights.session, weights.saver, tmp_path / "model.ckpt-5")
    assert weights.values() == {5.0}


def test_a_report_tells_loaded_missing_unused_and_reshaped_apart(save, tmp_path):
    save(1)
    with Weights(shape=(4,)).session, Weights(name="other").session:
        same = match_variables(tmp_path / "model.ckpt-1", Weights().variables)
        other = match_variables(tmp_path / "model.ckpt-1", Weights(name="other").variables)
        wider = match_variables(tmp_path / "model.ckpt-1", Weights(shape=(4,)).variables)
    both = ("network/kernel", "network/kernel/Momentum")
    assert (tuple(same.sources), same.missing, same.unused, same.misfits) == (both, (), (), ())
    assert same.table() == "      2  loaded  network/kernel, network/kernel/Momentum"
    assert (dict(other.sources), set(other.unused)) == ({}, set(both))
    assert other.missing == ("network/other", "network/other/Momentum")
    assert wider.misfits == tuple((name, (3,), (4,)) for name in both)
    assert not wider.sources


@pytest.mark.parametrize("suffix", ["data-00000-of-00001", "index"])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_checkpoint_is_a_sentence(save, weights, tmp_path, suffix, damage):
    save(1)
    path = tmp_path / f"model.ckpt-1.{suffix}"
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        content[:middle] + (b"" if damage == "cut" else bytes([content[middle] ^ 255]) + content[middle + 1 :])
    )

    def load(prefix):
        match_variables(prefix, weights.variables)  # reads the index
        restore(weights.session, weights.saver, prefix)  # reads the data

    with pytest.raises(RunError, match=r"model\.ckpt-1: the checkpoint is damaged"):
        load(tmp_path / "model.ckpt-1")


def checkpoint_of_another_program(folder, value):
    """The prefix of another program's checkpoint, without a description."""
    stored = Weights(shape=(3, 1))
    with stored.session, stored.session.graph.as_default():
        stored.fill(value)
        prefix = stored.saver.save(stored.session, str(folder / "other.ckpt"), write_meta_graph=False)
    return Path(prefix)


def names(stored):
    assert stored["network/kernel"] == [3, 1]
    return {f"network/other{kind}": f"network/kernel{kind}" for kind in ("", "/Momentum")}


def test_variables_are_found_under_other_names_and_in_the_shape_of_a_1x1_convolution(tmp_path):
    prefix = checkpoint_of_another_program(tmp_path, 5)
    target = Weights(shape=(1, 1, 3, 1), name="other")
    with target.session:
        match = match_variables(prefix, target.variables, names)
        assert not match.is_plain
        assert match.table() == (
            "      2  loaded, reshaped  network/other from [3, 1] to [1, 1, 3, 1], "
            "network/other/Momentum from [3, 1] to [1, 1, 3, 1]"
        )
        load_matched(target.session, target.saver, target.variables, match)
        assert target.values() == {5.0}


def test_what_is_the_networks_alone_and_what_the_checkpoints_is_in_the_table(tmp_path):
    prefix = checkpoint_of_another_program(tmp_path, 5)
    target = Weights(shape=(3, 1), name="other")
    with target.session:
        table = match_variables(prefix, target.variables, lambda stored: {"network/other": "network/kernel"}).table()
    assert [line.split(maxsplit=1) for line in table.splitlines()] == [
        ["1", "loaded, stored under another name  network/other from network/kernel"],
        ["1", "new, not in the checkpoint         network/other/Momentum"],
        ["1", "not used, optimizer state          network/kernel/Momentum"],
    ]


def test_values_of_another_program_that_are_no_numbers_are_named(tmp_path):
    prefix = checkpoint_of_another_program(tmp_path, float("nan"))
    target = Weights(shape=(3, 1))
    with (
        target.session,
        pytest.raises(RunError, match=r"other\.ckpt: network/kernel: 3 of its 3 values are not finite"),
    ):
        load_matched(target.session, target.saver, target.variables, match_variables(prefix, target.variables))
