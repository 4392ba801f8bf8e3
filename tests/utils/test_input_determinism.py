import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.utils.input_records import encode, noise, options, quick_session, record, train_input, write_files
from utils.input.batching import Position, Shard
from utils.input.labelled_images import LABELLED_IMAGES
from utils.records.split_files import SplitFiles

ROOT = Path(__file__).resolve().parents[2]
BATCH = 40


def digest_and_shortest_wait(files):
    """A digest of the first five batches, and the shortest wait for one of them after a pause."""
    digest, waits = hashlib.sha256(), []
    with tf.Graph().as_default():
        stream = train_input(files, LABELLED_IMAGES, options(batch_size=BATCH), Shard(), Position())
        with quick_session() as session:
            session.run(stream.initializer)
            for _ in range(5):
                batch, wait = session.run((stream.batch, stream.wait_seconds))
                digest.update(batch.images.tobytes() + batch.index.tobytes())
                waits.append(wait)
                time.sleep(0.15)  # a training step
    return digest.hexdigest(), min(waits)


@pytest.mark.slow
def test_under_deterministic_ops_batches_are_the_same_and_still_made_ahead(tmp_path):
    """TensorFlow makes the whole pipeline sequential if it contains an unknown stateful op."""
    jpegs = [encode(np.kron(noise(i), np.ones((24, 24, 1), np.uint8)), "JPEG") for i in range(3)]
    files = write_files(tmp_path, [record(jpegs[i % 3] if i % 7 else b"") for i in range(60)], files=2)
    environment = os.environ | {"TF_DETERMINISTIC_OPS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, __file__, *files.paths]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    digest, wait = done.stdout.split()
    assert digest == digest_and_shortest_wait(files)[0]
    assert float(wait) < 0.01  # decoding a batch takes 0.1 s


if __name__ == "__main__":
    print(*digest_and_shortest_wait(SplitFiles(tuple(sys.argv[1:]), (30, 30))))
