"""Generated PyTorch files, most of them damaged or hostile, end in a sentence."""

from tests.tools.weights.fuzz_torch_file import fuzz


def test_no_generated_file_ends_in_a_traceback_or_takes_long_or_more_memory_than_it_has_bytes():
    counts = fuzz(files=1500, seed=20, minutes=0.1)
    assert counts.total() == counts["read"] + counts["refused"]
    assert counts["read"] > 50
    assert counts["refused"] > 200
