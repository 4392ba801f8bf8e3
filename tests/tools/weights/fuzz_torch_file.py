"""Reads generated PyTorch files, sound, damaged and hostile: python -m tests.tools.weights.fuzz_torch_file --files N.

File ``n`` of a seed is always the same. Each is read with its tensors, under limits of time and of memory. Prints
figures, keeps the files that broke a rule in --keep, and ends with status 1 if there is any.
"""

import argparse
import collections
import io
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import zipfile
from pathlib import Path

import numpy as np

from tools.weights.weights_file import open_weights
from utils.errors import RunError, UsageError

BASE = 64 * 2**20
"""Memory that reading any file may take, beside 1.2 times the file's size."""
SECONDS = 10
LONGEST_MESSAGE = 3000
_TENSORS_READ = 40
_NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    64,
    255,
    256,
    65535,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**62,
    2**63 - 1,
    2**63,
    2**64,
    10**40,
    -1,
    -7,
)
_NAMES = (
    "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter", "collections OrderedDict",
    "argparse Namespace", "torch FloatStorage", "torch BFloat16Storage", "torch LongStorage", "torch BoolStorage",
    "torch HalfStorage", "torch.storage UntypedStorage", "builtins eval", "posix system",
    "torch FloatStorage.__init__", "copyreg _reconstructor",
)  # fmt: skip


def number(value: int) -> bytes:
    """The instruction that pushes a whole number."""
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def text(value: str) -> bytes:
    """The instruction that pushes a text."""
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def name(value: str) -> bytes:
    """The instruction that pushes a function."""
    return b"c" + value.replace(" ", "\n").encode() + b"\n"


def numbers(values) -> bytes:
    """Instructions that push a tuple of numbers."""
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(key="0", count=24, shape=(4, 6), strides=(6, 1), offset=0, storage="torch FloatStorage") -> list[bytes]:
    """Instructions that push a tensor."""
    return [
        name("torch._utils _rebuild_tensor_v2"),
        b"((", text("storage"), name(storage), text(key), text("cpu"), number(count), b"t", b"Q",
        number(offset), numbers(shape), numbers(strides), b"\x89", name("collections OrderedDict"), b")R", b"t", b"R",
    ]  # fmt: skip


def state(count: int) -> list[bytes]:
    """Instructions that push a state dict."""
    program = [name("collections OrderedDict"), b")R", b"q\x00", b"("]
    for index in range(count):
        program += [text(f"layer.{index}.weight"), b"q" + bytes([index + 1]), *tensor(str(index % 3))]
    return [*program, b"u", b"}", text("_metadata"), b"}", b"s", b"b"]


class Generator:
    """Generates the bytes of a file from a random source."""

    def __init__(self, source: random.Random) -> None:
        self._random = source

    def file(self) -> bytes:
        """A file of any kind."""
        choice = self._random
        if choice.random() < 0.001:
            return self._archive(self._bomb())
        if choice.random() < 0.25:
            return self._damaged(self._archive(b"\x80\x02" + b"".join(state(3)) + b"."))
        program = (
            self._mutated(state(choice.randrange(1, 4))) if choice.random() < 0.8 else self._noise(choice.randrange(60))
        )
        return self._archive(b"\x80\x02" + b"".join(program) + b"." * (choice.random() < 0.95))

    def _instruction(self) -> bytes:
        choice = self._random
        kind = choice.randrange(12)
        if kind == 0:
            return name(choice.choice(_NAMES))
        if kind == 1:
            return number(choice.choice(_NUMBERS))
        if kind == 2:
            return text(choice.choice(("0", "1", "storage", "a", "\x1b[2J", "\ud800", "x" * 500, "../../etc", "")))
        if kind == 3:
            return choice.choice((b"q", b"h")) + bytes([choice.randrange(6)])
        if kind == 4:
            return choice.choice((b"r", b"j")) + struct.pack("<I", choice.choice((0, 3, 2**18, 2**31, 2**32 - 1)))
        if kind == 5:
            return b"".join(self._odd_tensor())
        if kind == 6:
            return choice.choice((b"V", b"S", b"I", b"L", b"F", b"p", b"g", b"P", b"i")) + choice.choice(
                (b"1\n", b"'a'\n", b"-1\n", b"9" * 5000 + b"\n", b"nan\n", b"1L\n", b"\\ud800\n", b"posix\nsystem\n")
            )
        if kind == 7:
            length = choice.choice((0, 3, 200, 2**31 - 1))
            return choice.choice((b"\x8b", b"B", b"X", b"T")) + struct.pack("<I", length) + b"\xff" * min(length, 200)
        if kind == 8:
            return bytes([choice.randrange(256)])
        return choice.choice(
            tuple(b"(.)]}tlduseabRQ0120N\x81\x85\x86\x87\x88\x89\x93\x94\x8f\x90\x91\x92\x95\x96\x97")
        ).to_bytes(1, "little")

    def _odd_tensor(self) -> list[bytes]:
        choice = self._random
        axes = choice.choice((0, 1, 2, 3, 33))
        few = [*_NUMBERS[:6], choice.choice(_NUMBERS)]
        return tensor(
            choice.choice(("0", "1", "2", "9", "\ud800")),
            choice.choice((24, 24, 12, choice.choice(_NUMBERS))),
            [choice.choice(few) for _ in range(axes)],
            [choice.choice(few) for _ in range(axes + (choice.random() < 0.05))],
            choice.choice(few),
            choice.choice(_NAMES),
        )

    def _noise(self, length: int) -> list[bytes]:
        return [self._instruction() for _ in range(length)]

    def _mutated(self, program: list[bytes]) -> list[bytes]:
        choice = self._random
        for _ in range(choice.choice((0, 1, 1, 2, 3, 8))):
            place = choice.randrange(len(program) + 1)
            kind = choice.randrange(5)
            if kind == 0:
                program[place:place] = [self._instruction()]
            elif kind == 1:
                program[place : place + 1] = [self._instruction()]
            elif kind == 2:
                del program[place : place + choice.choice((1, 1, 4))]
            elif kind == 3:
                program[place:place] = program[max(0, place - 6) : place] * choice.choice((1, 2, 40))
            else:  # state for whatever is on top
                items = self._noise(2)
                program[place:place] = [choice.choice((b"}(", b"N}(")), *items, choice.choice((b"ub", b"u\x86b"))]
        return program

    def _bomb(self) -> bytes:
        """A program that would need time or memory in a reader without limits."""
        count = self._random.choice((5_000, 60_000, 300_000))
        shared = b"".join(state(200)) + b"r\xff\x00\x00\x00"
        axes = numbers([1] * 5000) + b"q\x01" + name(_NAMES[0]) + b"q\x02"
        return (
            self._random.choice(
                (
                    b"]" + b"\x85" * count,  # depth of tuples
                    b"]" * count + b"a" * (count - 1),
                    b"}" + b"X\x01\x00\x00\x00a}" * (count // 2) + b"s" * (count // 2),
                    b"]q\x00" + b"h\x00h\x00\x86q\x00" * (count // 4),  # doubled again and again
                    shared + b"}(" + b"".join(text(str(i)) + b"j\xff\x00\x00\x00" for i in range(count // 2)) + b"u",
                    b"]" + b"".join(b"r" + struct.pack("<I", i) for i in range(count)),
                    b"}" * count,
                    b"(" * count + b"t" * count,
                    axes + b"".join(b"h\x02(h\x01h\x01h\x01h\x01tR" for _ in range(count // 7)),
                    text("\U0001f600" + "x" * min(20 * count, 5_000_000)),
                    b"\x8b" + struct.pack("<I", 4 * count) + b"\x7f" * 4 * count,
                    b"".join(
                        b"\x8b" + struct.pack("<I", 20_000) + b"\x7f" * 20_000 + b"q\x00" for _ in range(count // 2000)
                    ),
                    b"L" + b"9" * count + b"L\n",
                    b"(" + b"N" * count + b"u" * 9,
                    b"}(" + b"".join(text(f"{i}") + b"N" for i in range(count // 2)) + b"u",
                    b"K\x01" * count + b"0" * count,
                )
            )
            + b"."
        )

    def _archive(self, program: bytes) -> bytes:
        choice = self._random
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", 8 * (choice.random() < 0.02)) as archive:
            archive.writestr("a/data.pkl", program)
            for key in range(2 if choice.random() < 0.02 else 3):
                size = choice.choice((192, 48, 95, 0)) if choice.random() < 0.05 else 96
                archive.writestr(f"a/data/{key}", bytes(size))
            if choice.random() < 0.05:
                archive.writestr(choice.choice(("b/data.pkl", "a/byteorder")), choice.choice((b"little", b"big")))
        return buffer.getvalue()

    def _damaged(self, content: bytes) -> bytes:
        """An archive with other bytes, mostly in its directory."""
        choice, raw = self._random, bytearray(content)
        directory = content.rfind(b"PK\x01\x02\x14")
        for _ in range(choice.choice((1, 1, 2, 5))):
            place = choice.randrange(directory if choice.random() < 0.7 else 0, len(raw))
            kind = choice.randrange(5)
            if kind == 0:
                raw[place : place + 1] = bytes([choice.randrange(256)])
            elif kind == 1:
                size = choice.choice((2, 4, 8))
                raw[place : place + size] = (choice.choice(_NUMBERS) % 2 ** (8 * size)).to_bytes(size, "little")
            elif kind == 2:
                del raw[place : place + choice.choice((1, 4, 46))]
            elif kind == 3:
                raw[place:place] = bytes(choice.choice((1, 22, 46)))
            else:
                del raw[place if choice.random() < 0.2 else len(raw) - choice.randrange(30) :]
            if len(raw) < 2:
                break
            directory = min(directory, len(raw) - 1)
        return bytes(raw)


class Hang(BaseException):
    """A file took too long."""


def outcome(path: Path) -> str:
    """Reads a file with its tensors: "read", "refused", or the name of the rule that it breaks."""
    try:
        file = open_weights(path)
        for tensor_name in list(file.shapes)[:_TENSORS_READ]:
            np.array(file.read(tensor_name)).sum(dtype=np.float64)
    except (RunError, UsageError) as error:
        message = str(error)
        return "refused" if len(message) < LONGEST_MESSAGE and message.isprintable() else "message"
    except Hang:
        return "hang"
    except MemoryError:
        return "memory"
    except Exception:
        traceback.print_exc()
        return "traceback"
    return "read"


def fuzz(files: int, seed: int, keep: Path | None = None, minutes: float = 60.0) -> collections.Counter[str]:
    """Reads ``files`` generated files, or those that fit into ``minutes``; returns the counts of outcomes."""
    counts: collections.Counter[str] = collections.Counter()
    slowest, ends = 0.0, time.monotonic() + 60 * minutes
    before = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGVTALRM, _hang)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        path.write_bytes(Generator(random.Random(0)).file())
        outcome(path)  # loads what is loaded once
        base, peak = _virtual_bytes(), _peak_bytes()
        try:
            for index in range(files):
                if time.monotonic() > ends:
                    break
                content = Generator(random.Random(f"{seed}/{index}")).file()
                path.write_bytes(content)
                limit = base + BASE + int(1.2 * len(content)) + len(content)  # the generator holds the file too
                resource.setrlimit(resource.RLIMIT_AS, (limit, before[0][1]))
                signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
                signal.alarm(20 * SECONDS)  # ends the process if a library hangs
                begun = time.process_time()
                result = outcome(path)
                slowest = max(slowest, time.process_time() - begun)
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
                resource.setrlimit(resource.RLIMIT_AS, before[0])
                counts[result] += 1
                if result not in ("read", "refused"):
                    print(f"file {index} of seed {seed}: {result}", file=sys.stderr)
                    if keep is not None:
                        (keep / f"{seed}-{index}-{result}.pth").write_bytes(content)
        finally:
            signal.alarm(0)
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before[1])
            resource.setrlimit(resource.RLIMIT_AS, before[0])
        grown = (_peak_bytes() - peak) / 2**20
    print(f"slowest file {slowest:.2f} s of CPU; memory at most {grown:.1f} MiB more than before the first file")
    return counts


def _hang(*_) -> None:
    raise Hang


def _virtual_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> int:
    """Runs the command and returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after this time")
    parser.add_argument("--keep", type=Path, help="folder for files that break a rule")
    flags = parser.parse_args()
    if flags.keep is not None:
        flags.keep.mkdir(parents=True, exist_ok=True)
    counts = fuzz(flags.files, flags.seed, flags.keep, flags.minutes)
    broken = counts.total() - counts["read"] - counts["refused"]
    kinds = ", ".join(
        f"{counts[kind]} {kind}" for kind in ("read", "refused", "traceback", "hang", "memory", "message")
    )
    print(f"seed {flags.seed}: {counts.total()} files: {kinds}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
