"""Reads encoded images from records without TensorFlow, by the few parts of the protobuf format that this needs."""

from pathlib import Path

from utils.records.manifest import load_split
from utils.records.tfrecord_file import iterate_headers

BYTES_KIND = 2  # protobuf wire type: a length, then as many bytes
KEY = b"image/encoded"


def images_of(data_dir, split="train"):
    """The encoded images of a split, in order."""
    found = []
    for path in load_split(data_dir, split).paths:
        content = Path(path).read_bytes()
        found += [encoded_image(content[offset : offset + length]) for offset, length in iterate_headers(path)]
    return found


def encoded_image(example):
    """The bytes of the image in a serialized Example: features (1), feature (1), key (1) and value (2), list (1)."""
    for features in fields(example, 1):
        for entry in fields(features, 1):
            if next(fields(entry, 1)) == KEY:
                bytes_list = next(fields(next(fields(entry, 2)), 1))
                return next(fields(bytes_list, 1))
    raise ValueError("the record has no image")


def fields(message, number):
    """Yields the contents of all fields with a number; all fields of an Example down to its lists have one kind."""
    place = 0
    while place < len(message):
        tag, place = varint(message, place)
        if tag & 7 != BYTES_KIND:
            raise ValueError(f"field of kind {tag & 7} in an Example")
        length, place = varint(message, place)
        if tag >> 3 == number:
            yield message[place : place + length]
        place += length


def varint(message, place):
    """The number at a place, seven bits per byte, and the place after it."""
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
