"""The choice of a formulation for each direction of a convolution that trains on a CPU: built-in rules or measured."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_KEY = re.compile(
    r"(?:(?P<batch>\d+)|\?) x (?P<height>\d+) x (?P<width>\d+) x (?P<channels>\d+), "
    r"(?P<size>\d+) x (?P=size) to (?P<filters>\d+), stride (?P<stride>\d+), groups (?P<groups>\d+), "
    r"(?P<padding>SAME|VALID), (?P<dtype>\w+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """All that the speed of a convolution in NHWC depends on, besides the machine.

    Attributes:
        batch: Images, or None if it is unknown.
        height: Height of the input, with its padding if ``padding`` is "VALID".
        width: Width of the input, likewise.
        channels: Channels of the input.
        filters: Channels of the output.
        size: Height and width of the kernel.
        stride: Spatial stride.
        groups: Number of groups.
        padding: "SAME" or "VALID".
        dtype: Name of the type.
    """

    batch: int | None
    height: int
    width: int
    channels: int
    filters: int
    size: int
    stride: int
    groups: int
    padding: str
    dtype: str

    @property
    def key(self) -> str:
        """The signature as text; ``from_key`` reads it."""
        batch = "?" if self.batch is None else self.batch
        return (
            f"{batch} x {self.height} x {self.width} x {self.channels}, {self.size} x {self.size} to {self.filters}, "
            f"stride {self.stride}, groups {self.groups}, {self.padding}, {self.dtype}"
        )

    @classmethod
    def from_key(cls, key: str) -> Signature:
        """Reads ``key``.

        Raises:
            ValueError: The text is no signature.
        """
        found = _KEY.fullmatch(key)
        if found is None:
            raise ValueError(f"{key!r} names no convolution")
        texts = found.groupdict()
        numbers = {name: int(texts[name]) for name in texts if name not in ("batch", "padding", "dtype")}
        batch = texts["batch"] and int(texts["batch"])
        return cls(batch=batch or None, padding=texts["padding"], dtype=texts["dtype"], **numbers)

    @property
    def output_sides(self) -> tuple[int, int]:
        """Height and width of the output."""
        lost = self.size - 1 if self.padding == "VALID" else 0
        height, width = (-(-(side - lost) // self.stride) for side in (self.height, self.width))
        return height, width

    @property
    def multiplications(self) -> int:
        """Multiplications of the forward direction in one batch; an unknown batch counts as 1."""
        height, width = self.output_sides
        of_pixel = self.size**2 * self.channels // self.groups * self.filters
        return (self.batch or 1) * height * width * of_pixel


@dataclass(frozen=True, slots=True)
class Choice:
    """The formulation of each direction, a name in ``model.layers.formulations``."""

    forward: str = "native"
    input_gradient: str = "native"
    filter_gradient: str = "native"

    @property
    def names(self) -> tuple[str, str, str]:
        return self.forward, self.input_gradient, self.filter_gradient


NATIVE = Choice()
MATRIX = Choice("matrix", "matrix", "matrix")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A choice for ungrouped convolutions with SAME padding, if all that is given here fits.

    Attributes:
        choice: The choice.
        size: Width of the kernel; None for any above 1.
        stride: The stride; None for any.
        least_channels: The smallest number of input and of output channels.
        most_pixels: The largest number of output pixels in a batch; None for any.
        dtype: Name of the type; None for any.
    """

    choice: Choice
    size: int | None = None
    stride: int | None = None
    least_channels: int = 0
    most_pixels: int | None = None
    dtype: str | None = None

    def fits(self, signature: Signature) -> bool:
        """Returns whether the rule is for a convolution."""
        if signature.groups > 1 or signature.padding != "SAME":
            return False
        if min(signature.channels, signature.filters) < self.least_channels:
            return False
        if signature.size != self.size and (self.size is not None or signature.size == 1):
            return False
        if self.stride not in (None, signature.stride) or self.dtype not in (None, signature.dtype):
            return False
        if self.most_pixels is None:
            return True
        height, width = signature.output_sides
        return signature.batch is not None and signature.batch * height * width <= self.most_pixels


# Over few pixels, oneDNN spends more time on reordering the filters, which it does in each step, than on arithmetic. A
# matrix product is faster than TensorFlow's filter gradient (2.21): for 1x1 kernels 1.5 to 6 times in bfloat16 and 1.1
# to 2 times in float32, and, one for each pixel of larger kernels, 1.1 to 2.8 times in bfloat16 over few pixels.
# Without AVX-512, products gain there in float32 too, between 64 channels or more: 1.2 to 11 times over the fewest.
_FEW_PIXELS = Rule(size=1, most_pixels=1024, choice=MATRIX)
_FLOAT32 = Rule(size=1, dtype="float32", choice=Choice(filter_gradient="matrix"))
_PATCHES, _TAPS, _WINOGRAD = (Choice(filter_gradient=name) for name in ("patches", "taps", "winograd"))
RULES: Mapping[str, tuple[Rule, ...]] = {
    "bfloat16": (
        _FEW_PIXELS,
        Rule(size=1, dtype="bfloat16", choice=Choice(filter_gradient="matrix")),
        Rule(dtype="bfloat16", most_pixels=4096, choice=_TAPS),
        _FLOAT32,
    ),
    "avx512": (_FEW_PIXELS, _FLOAT32),
    "avx2": (
        _FEW_PIXELS,
        Rule(size=3, least_channels=64, dtype="float32", most_pixels=128, choice=_PATCHES),
        Rule(size=3, stride=1, least_channels=128, dtype="float32", most_pixels=4096, choice=_WINOGRAD),
        Rule(size=3, least_channels=64, dtype="float32", most_pixels=4096, choice=_TAPS),
    ),
}
"""The built-in rules by kind of CPU: with instructions for bfloat16, with AVX-512 alone, others. The first that fits
counts; without one, TensorFlow's own convolution stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The chooser of a network.

    Attributes:
        machine: Kind of CPU, a key of ``RULES``.
        measured: Choices by the key of a signature; the rules choose for all others.
    """

    machine: str = "bfloat16"
    measured: Mapping[str, Choice] = field(default_factory=dict)

    def of(self, signature: Signature) -> Choice:
        """The choice for a convolution."""
        return self.measured.get(signature.key) or self.built_in(signature)

    def built_in(self, signature: Signature) -> Choice:
        """The choice of the rules alone."""
        return next((rule.choice for rule in RULES[self.machine] if rule.fits(signature)), NATIVE)
