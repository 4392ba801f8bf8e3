"""The machine code for GPUs in a library: for which compute capabilities there is some."""

import mmap
import struct
from dataclasses import dataclass

MAGIC = struct.pack("<I", 0xBA55ED50)
PTX, MACHINE_CODE = 1, 2


@dataclass(frozen=True, order=True)
class Code:
    """One piece of code: of a kind, for a compute capability times ten."""

    kind: int
    capability: int

    def runs_on(self, capability):
        """Machine code runs on later cards of its generation; PTX is compiled on any later card."""
        if self.kind == MACHINE_CODE:
            return self.capability // 10 == capability // 10 and self.capability <= capability
        return self.kind == PTX and self.capability <= capability


def code_in(path):
    """The kinds of code in a file: a set that is empty if it has no code for GPUs.

    A container ("fat binary") starts with MAGIC and the sizes of its header and of its content. Each piece in it starts
    with its kind, the size of its header, the size of its content, and at byte 28 its compute capability.
    """
    found = set()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = data.find(MAGIC)
        while start >= 0:
            header, size = struct.unpack_from("<HQ", data, start + 6)
            end = start + header + size
            if header != 16 or end > len(data):  # the same four bytes by chance
                start = data.find(MAGIC, start + 4)
                continue
            found |= set(_pieces(data, start + header, end))
            start = data.find(MAGIC, end)
    return found


def _pieces(data, start, end):
    while start + 32 <= end:
        kind, header, size = struct.unpack_from("<H2xIQ", data, start)
        if header < 32:
            return
        yield Code(kind, struct.unpack_from("<I", data, start + 28)[0])
        start += header + size
