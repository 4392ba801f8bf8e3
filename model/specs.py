"""Tables of architectures in their papers' terms. Imports nothing but the standard library."""

from __future__ import annotations

from dataclasses import dataclass

EXPONENTIAL_DECAY = 0.9
FUSED_EPSILON = 1.001e-5  # 1e-5 asked for; the fused kernel's floor, which the published weights were trained with


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchNormSpec:
    """Constants of one kind of batch normalization.

    ``decay`` is the share of the old moving average that an update keeps; ``epsilon`` is added to the variance.
    """

    decay: float = EXPONENTIAL_DECAY
    epsilon: float = FUSED_EPSILON


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetSpec:
    """A member of the ResNet family.

    ``widths`` are the channels of the 3x3 convolutions per stage; a block puts out ``width * expansion`` channels.
    ``cardinality`` is the number of groups of the 3x3 convolutions; ``se_ratio`` divides a block's output channels to
    give the width of its squeeze, 0 meaning no squeeze-and-excitation. The stride of a stage sits on the 3x3
    convolution of its first block ("v1.5").

    Source: He et al., Deep Residual Learning, arXiv:1512.03385; Xie et al., Aggregated Residual Transformations,
    arXiv:1611.05431; Hu et al., Squeeze-and-Excitation Networks, arXiv:1709.01507.
    Differs from the papers: stride on the 3x3 convolution; gamma starts at 1 everywhere.
    """

    name: str
    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    expansion: int
    cardinality: int = 1
    se_ratio: int = 0
    stem_width: int = 64
    batch_norm: BatchNormSpec = BatchNormSpec()

    @property
    def features(self) -> int:
        """Channels of the last feature map, the input of the classifier."""
        return self.widths[-1] * self.expansion


RESNETS = {
    spec.name: spec
    for spec in (
        ResNetSpec(name="resnet50", blocks=(3, 4, 6, 3), widths=(64, 128, 256, 512), expansion=4),
        ResNetSpec(
            name="resnext101-32x4d",
            blocks=(3, 4, 23, 3),
            widths=(128, 256, 512, 1024),
            expansion=2,
            cardinality=32,
        ),
        ResNetSpec(
            name="se-resnext101-32x4d",
            blocks=(3, 4, 23, 3),
            widths=(128, 256, 512, 1024),
            expansion=2,
            cardinality=32,
            se_ratio=16,
        ),
    )
}
