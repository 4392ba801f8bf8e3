"""Values that are restored, and the report of what fits."""

import pytest

from tests.utils.checkpoints.weights import Weights
from utils.checkpoint_contents import match_variables, restore
from utils.errors import RunError


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

    with pytest.raises(RunError, match=r"model\.ckpt-1: .*\(--model_dir\)"):
        load(tmp_path / "model.ckpt-1")
