"""Record files made without TensorFlow."""

from utils.records.tfrecord_file import frame


def write_records(path, count):
    """Writes so many records that are all alike; the size of the file."""
    path.write_bytes(b"".join(before + b"payload" + after for before, after in [frame(b"payload")] * count))
    return path.stat().st_size
