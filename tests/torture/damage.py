"""Random damage to files: to their bytes, to the fields of JSON, and to records whose checksums stay right."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from utils.records.tfrecord_file import framed, iterate_headers, read_record

_DEEP = "a value inside of many lists"
ODD = (
    *(-1, 0, 2**31, 2**63, 10**30, 1e-12, -1e308, float("nan"), float("inf"), True, None),
    *("", "x", "7", "../../etc/passwd", "/dev/zero", "a\nb\x1b[31m\x00", "\ud800", [], {}, [[]], {"a": {"b": []}}),
)
"""Values that a field may get."""


def damaged(data: bytes, chance: random.Random) -> bytes:
    """A copy of a file's content with some of its bytes changed, lost, doubled or moved."""
    result = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 5, 50))):
        place = chance.randrange(len(result) + 1)
        length = chance.choice((1, 1, 4, 64, 1000))
        kind = chance.randrange(6)
        if kind == 0:
            del result[place : place + length]
        elif kind == 1:
            result[place:place] = chance.randbytes(length)
        elif kind == 2:
            result[place : place + length] = bytes(len(result[place : place + length]))
        elif kind == 3:
            del result[place:]
        elif kind == 4:
            result[place:place] = result[place : place + length]
        elif place < len(result):
            result[place] ^= 1 << chance.randrange(8)
    return bytes(result)


def damaged_json(data: bytes, chance: random.Random) -> bytes:
    """A JSON document with one to three of its values replaced, removed, doubled or nested deeply."""
    content = json.loads(data)
    for _ in range(chance.randint(1, 3)):
        places = list(_places(content))
        if not places:
            break
        holder, key = chance.choice(places)
        kind = chance.randrange(5)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, list):
            holder.insert(key, holder[key])
        elif kind == 2:
            holder[key] = _DEEP
        else:
            holder[key] = chance.choice(ODD)
    levels = chance.choice((10, 5_000, 200_000))
    text = json.dumps(content).replace(json.dumps(_DEEP), f"{'[' * levels}1{']' * levels}")
    return text.encode("utf-8", "surrogatepass")


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a document with each of its keys."""
    found, waiting = [], [value]
    while waiting:
        holder = waiting.pop()
        keys = holder.keys() if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            found.append((holder, key))
            waiting.append(holder[key])
    return found


def damaged_records(path: Path, chance: random.Random) -> bytes:
    """A record file with the content of one record damaged and its checksum made anew."""
    count = sum(1 for _ in iterate_headers(path))
    records = [read_record(path, number) for number in range(count)]
    at = chance.randrange(count)
    records[at] = damaged(records[at], chance)
    return b"".join(map(framed, records))
