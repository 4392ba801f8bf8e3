"""Settings that pretrained weights depend on: padding, epsilon, strides, mean and standard deviation.

Only this module defines the mean and the standard deviation. Imports no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from utils.errors import RunError

Rgb = tuple[float, float, float]

MEAN_RGB: Rgb = (123.68, 116.28, 103.53)
STD_RGB: Rgb = (58.395, 57.120, 57.385)
DETECTION_MEAN_RGB: Rgb = (123.68, 116.779, 103.939)  # of slim's residual networks, which do not divide
PADDINGS = ("same", "symmetric", "symmetric_convolutions")
STRIDED = ("1x1", "3x3")


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainedConfig:
    """Settings with which another program trained the weights; None stands for this project's own.

    Attributes:
        padding: One of ``PADDINGS``: TensorFlow's SAME; symmetric, as in PyTorch; or symmetric for convolutions and
            SAME for max pooling, as in slim and ``pretrainedmodels``.
        epsilon: Constant that batch normalization adds to the variance.
        strided: The convolution with the stride in the first block of a stage, one of ``STRIDED``.
        mean_rgb: Mean subtracted from pixels in 0..255.
        std_rgb: Standard deviation by which the result is divided.
    """

    padding: str | None = None
    epsilon: float | None = None
    strided: str | None = None
    mean_rgb: Rgb | None = None
    std_rgb: Rgb | None = None

    @property
    def network(self) -> dict[str, Any]:
        """Settings of the layers, in the form of "network" in checkpoint descriptions."""
        return {"padding": self.padding, "epsilon": self.epsilon, "strided": self.strided}

    @property
    def is_default(self) -> bool:
        """Returns whether the layers have this project's settings."""
        return self.padding in (None, "same") and self.epsilon is None and self.strided in (None, "3x3")

    def summary(self) -> str:
        """The settings on one line for the console."""
        padding = {"symmetric": "symmetric padding", "symmetric_convolutions": "symmetric padding of convolutions"}
        parts = [
            padding.get(self.padding or "", ""),
            f"epsilon {self.epsilon:g}" if self.epsilon is not None else "",
            "stride on the first 1x1 convolution of a stage" if self.strided == "1x1" else "",
            f"mean {_listed(self.mean_rgb)}" if self.mean_rgb else "",
            f"standard deviation {_listed(self.std_rgb)}" if self.std_rgb else "",
        ]
        return ", ".join(part for part in parts if part) or "this project's settings"


_TORCH = PretrainedConfig(
    padding="symmetric", epsilon=1e-5, mean_rgb=(123.675, 116.28, 103.53), std_rgb=(58.395, 57.12, 57.375)
)
PRETRAINED_CONFIGS = {
    "nvidia": PretrainedConfig(),
    "detection": PretrainedConfig(),
    "slim": PretrainedConfig(
        padding="symmetric_convolutions",
        epsilon=1e-5,
        strided="1x1",
        mean_rgb=DETECTION_MEAN_RGB,
        std_rgb=(1.0, 1.0, 1.0),
    ),
    "torch": _TORCH,
    # Its max pooling has no padding and ceil mode; for maps with an even number of rows that equals SAME.
    "cadene": replace(_TORCH, padding="symmetric_convolutions"),
}
ORIGINS = {
    "nvidia": "a TensorFlow 1 network of NVIDIA's",
    "own": "a network of this program",
    "slim": "slim's resnet_v1_50",
    "detection": "a network of TensorFlow's detection library",
    "torch": "a network of timm or torchvision",
    "cadene": "a network of pretrainedmodels, which timm calls legacy",
}


def stored_pretrained_config(metadata: Mapping[str, Any]) -> PretrainedConfig:
    """Reads a checkpoint's settings from its description, else takes those of the program that its names indicate.

    Raises:
        RunError: The description is damaged, or no network here supports its settings.
    """
    default = PRETRAINED_CONFIGS.get(metadata.get("origin", ""), PretrainedConfig())
    if "preprocessing" not in metadata:
        return default
    network, images = metadata.get("network") or {}, metadata["preprocessing"]
    try:
        found = PretrainedConfig(
            padding=network.get("padding"),
            epsilon=None if network.get("epsilon") is None else float(network["epsilon"]),
            strided=network.get("strided"),
            mean_rgb=_rgb(images["mean_rgb"]),
            std_rgb=_rgb(images["std_rgb"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"the checkpoint's description: preprocessing or network is damaged: {error!r}") from error
    known = found.padding in (None, *PADDINGS) and found.strided in (None, *STRIDED)
    if not known or not all(value > 0 for value in found.std_rgb or ()):
        raise RunError(f"the checkpoint's description: no network supports {found.network} and preprocessing {images}")
    return found


def _rgb(values: Any) -> Rgb:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _listed(values: Rgb) -> str:
    return " ".join(f"{value:g}" for value in values)
