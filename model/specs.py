"""Tables of architectures in their papers' terms. Imports nothing but the standard library."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

Part = Literal["backbone", "pyramid", "head"]
"""The parts of a network that can be trained separately."""
EXPONENTIAL_DECAY = 0.9
FUSED_EPSILON = 1.001e-5  # the fused kernel's minimum: published weights asked for 1e-5 and were trained with this


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchNormSpec:
    """Constants of one kind of batch normalization.

    ``decay`` is the share of the old moving average that an update keeps; ``epsilon`` is added to the variance.
    """

    decay: float = EXPONENTIAL_DECAY
    epsilon: float = FUSED_EPSILON


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalInit:
    """Normally distributed initial kernels; ``truncated`` redraws values beyond two standard deviations."""

    stddev: float
    truncated: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationSpec:
    """Quantization of weights and activations to 8 bits.

    ``symmetric`` centers ranges on 0. ``qdq`` quantizes by a scale alone, to signed integers. Training starts to
    quantize after ``delay`` steps. ``per_channel`` gives each output channel of a kernel its own range.
    """

    symmetric: bool = False
    qdq: bool = False
    delay: int = 0
    per_channel: bool = False

    def by_zero_point(self) -> QuantizationSpec:
        """Returns the same levels by scale and zero point; quantization by a scale alone becomes symmetric."""
        return replace(self, qdq=False, symmetric=self.symmetric or self.qdq)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetNames:
    """Variable names of a residual network; block patterns may count stages and blocks from 0 or from 1."""

    stem: str = "conv2d"
    block: str = "btlnck_block_{stage}_{index}"
    convolutions: tuple[str, ...] = ("bottleneck_1", "bottleneck_2", "bottleneck_3")
    squeeze: str = "bottleneck_se_layer"
    shortcut: str = "shortcut/conv2d"
    kernel: str = "conv2d/kernel"

    def block_name(self, stage: int, index: int) -> str:
        """Returns the scope of a block; stage and index count from 0."""
        return self.block.format(stage=stage, index=index, stage_from_1=stage + 1, index_from_1=index + 1)


BASIC_NAMES = ResNetNames(
    block="basic_block_{stage}_{index}", convolutions=("basic_1", "basic_2"), squeeze="basic_se_layer"
)
SLIM_NAMES = ResNetNames(
    stem="conv1",
    block="block{stage_from_1}/unit_{index_from_1}/bottleneck_v1",
    convolutions=("conv1", "conv2", "conv3"),
    shortcut="shortcut",
    kernel="weights",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetSpec:
    """A member of the ResNet family.

    ``block`` is "bottleneck" (1x1, 3x3 and 1x1 convolutions) or "basic" (two 3x3 convolutions without groups).
    ``widths`` are the channels of the 3x3 convolutions per stage; a block outputs ``width * expansion`` channels.
    ``cardinality`` is the number of groups of the 3x3 convolutions. The squeeze has a block's output channels divided
    by ``se_ratio``; 0 means no squeeze-and-excitation. The stride of a stage sits on the first 3x3 convolution of its
    first block ("v1.5"), or with ``stride_first`` on the 1x1 convolution before it ("v1"). ``activation`` follows the
    stem and the convolutions within a block; the output of a block always passes through ReLU.
    ``symmetric_padding`` pads strided convolutions alike on all sides; TensorFlow's SAME pads the end more.
    ``symmetric_pooling`` does so for the max pooling of the stem.

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
    stride_first: bool = False
    activation: str = "relu"
    symmetric_padding: bool = False
    symmetric_pooling: bool = False
    kernel_init: NormalInit | None = None
    block: Literal["bottleneck", "basic"] = "bottleneck"
    names: ResNetNames = ResNetNames()

    def __post_init__(self) -> None:
        wanted = 3 if self.block == "bottleneck" else 2
        if len(self.names.convolutions) != wanted:
            raise ValueError(f"{self.name}: a {self.block} block has {wanted} convolutions: {self.names.convolutions}")
        if self.block == "basic" and (self.cardinality, self.expansion) != (1, 1):
            raise ValueError(f"{self.name}: a basic block has cardinality 1 and expansion 1")

    @property
    def features(self) -> int:
        """Channels of the last feature map, the input of the classifier."""
        return self.widths[-1] * self.expansion

    def as_trained(self, *, padding: str | None, epsilon: float | None, strided: str | None) -> ResNetSpec:
        """Returns the network as another program trained it; None keeps the value of the row.

        Args:
            padding: "same" as in TensorFlow; "symmetric" as in PyTorch; "symmetric_convolutions" as in slim, whose max
                pooling pads as TensorFlow does.
            epsilon: Constant added to the variance in batch normalization.
            strided: "1x1" or "3x3", the convolution of a stage's first block that has the stride.
        """
        changes: dict[str, Any] = {}
        if padding is not None:
            changes |= {"symmetric_padding": padding != "same", "symmetric_pooling": padding == "symmetric"}
        if epsilon is not None:
            changes["batch_norm"] = replace(self.batch_norm, epsilon=epsilon)
        if strided is not None:
            changes["stride_first"] = strided == "1x1"
        return replace(self, **changes)


def _basic(name: str, blocks: tuple[int, ...]) -> ResNetSpec:
    return ResNetSpec(
        name=name, block="basic", blocks=blocks, widths=(64, 128, 256, 512), expansion=1, names=BASIC_NAMES
    )


def _resnet(name: str, blocks: tuple[int, ...]) -> ResNetSpec:
    return ResNetSpec(name=name, blocks=blocks, widths=(64, 128, 256, 512), expansion=4)


def _resnext(name: str, blocks: tuple[int, ...], se_ratio: int = 0) -> ResNetSpec:
    """Returns a network of 32 groups, with 4 channels each in the first stage."""
    return ResNetSpec(
        name=name, blocks=blocks, widths=(128, 256, 512, 1024), expansion=2, cardinality=32, se_ratio=se_ratio
    )


RESNETS = {
    spec.name: spec
    for spec in (
        _basic("resnet18", (2, 2, 2, 2)),
        _basic("resnet34", (3, 4, 6, 3)),
        _resnet("resnet50", (3, 4, 6, 3)),
        _resnet("resnet101", (3, 4, 23, 3)),
        _resnet("resnet152", (3, 8, 36, 3)),
        _resnext("resnext50-32x4d", (3, 4, 6, 3)),
        _resnext("resnext101-32x4d", (3, 4, 23, 3)),
        _resnext("se-resnext50-32x4d", (3, 4, 6, 3), se_ratio=16),
        _resnext("se-resnext101-32x4d", (3, 4, 23, 3), se_ratio=16),
    )
}
"""All classifiers, one row each; code that lists, trains, quantizes, imports or exports networks reads these rows."""


CODE_SIZE = 4
"""Numbers that place one box relative to its anchor."""
BOX_BINS = 17
"""Distances from an anchor's center to a side of its box, 0 to 16 cells, that a distribution chooses among."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SSDNames:
    """Scopes of a detector's variables, and the name of the kernels outside its backbone."""

    features: str = "FeatureExtractor"
    backbone: str = "resnet_v1_50"
    pyramid: str = "fpn"
    projections: tuple[str, ...] = ("projection_1", "projection_2", "projection_3")
    smoothings: tuple[str, ...] = ("smoothing_1", "smoothing_2")
    bottom_up: tuple[str, ...] = ("bottom_up_block5", "bottom_up_block6")
    predictor: str = "WeightSharedConvolutionalBoxPredictor"
    box_tower: str = "BoxPredictionTower"
    class_tower: str = "ClassPredictionTower"
    tower_layer: str = "conv2d_{number}"
    level: str = "feature_{number}"
    box_head: str = "BoxPredictor"
    distribution_head: str = "BoxDistributionPredictor"
    centerness_head: str = "CenternessPredictor"
    class_head: str = "ClassPredictor"
    kernel: str = "weights"

    @property
    def backbone_scope(self) -> str:
        """Scope of the backbone and, within it, of the pyramid."""
        return f"{self.features}/{self.backbone}"

    @property
    def pyramid_scope(self) -> str:
        """Scope of the pyramid."""
        return f"{self.backbone_scope}/{self.pyramid}"

    @property
    def levels(self) -> tuple[str, ...]:
        """Scopes of the towers' variables for each level of the pyramid."""
        return tuple(self.level.format(number=n) for n in range(len(self.projections) + len(self.bottom_up)))

    def tower_layers(self, count: int) -> tuple[str, ...]:
        """Returns the scopes of a tower's convolutions."""
        return tuple(self.tower_layer.format(number=number) for number in range(count))


SSD_NAMES = SSDNames()


@dataclass(frozen=True, slots=True, kw_only=True)
class SSDSpec:
    """A one-stage detector: residual network, feature pyramid, and two heads that all levels share.

    ``width`` is the number of channels of the pyramid and of the heads' towers, ``tower_layers`` the number of
    convolutions in each tower. The initial ``class_bias`` makes every class start at the probability
    sigmoid(class_bias). ``batch_norm`` and ``kernel_init`` are for the pyramid, ``head_init`` for the heads; the
    backbone has its own. With ``norm`` "group", pyramid and heads have group normalization instead, whose variables all
    levels share. ``distribution`` predicts each side of a box as ``BOX_BINS`` logits in place of its code, and
    ``centerness`` one more logit per anchor.

    Source: Lin et al., Feature Pyramid Networks, arXiv:1612.03144; Lin et al., Focal Loss for Dense Object Detection,
    arXiv:1708.02002; Li et al., Generalized Focal Loss, arXiv:2006.04388; Tian et al., FCOS, arXiv:1904.01355.
    Differs from the papers: level 5 is its projection alone; towers normalize each level separately; only levels 3 to 7
    exist.
    """

    name: str
    backbone: ResNetSpec
    width: int = 256
    tower_layers: int = 4
    class_bias: float = -4.6
    batch_norm: BatchNormSpec = BatchNormSpec(decay=0.997, epsilon=1e-3)
    norm: str = "batch"
    kernel_init: NormalInit = NormalInit(stddev=0.03)
    head_init: NormalInit = NormalInit(stddev=0.01, truncated=False)
    distribution: bool = False
    centerness: bool = False
    names: SSDNames = SSD_NAMES

    @property
    def box_heads(self) -> dict[str, tuple[str, int]]:
        """Scope and numbers per anchor of each head on the tower of boxes, by its endpoint."""
        names = self.names
        heads = {"box_codes": (names.box_head, CODE_SIZE)}
        if self.distribution:
            heads = {"box_logits": (names.distribution_head, CODE_SIZE * BOX_BINS)}
        return heads | ({"centerness_logits": (names.centerness_head, 1)} if self.centerness else {})

    def with_backbone(self, backbone: ResNetSpec) -> SSDSpec:
        """Returns the detector on another backbone; the variables of backbone and pyramid are in the scope it names."""
        return replace(self, backbone=backbone, names=replace(self.names, backbone=backbone.name))


_DETECTION_NORM = BatchNormSpec(decay=0.997)
# Both kinds of ResNet-50 share the names of published detectors, so only a description tells them apart.
_RESNET50 = replace(
    RESNETS["resnet50"],
    name=SSD_NAMES.backbone,
    batch_norm=_DETECTION_NORM,
    kernel_init=NormalInit(stddev=0.03),
    names=SLIM_NAMES,
)
_RESNET_V1_50 = replace(
    _RESNET50,
    batch_norm=replace(_DETECTION_NORM, epsilon=1e-5),
    stride_first=True,
    activation="relu6",
    symmetric_padding=True,
)

BACKBONES = {
    "resnet_v1_50": _RESNET_V1_50,
    **{name: replace(spec, batch_norm=_DETECTION_NORM) for name, spec in RESNETS.items()},
    "resnet50": _RESNET50,
}
"""Backbones of detectors: that of published checkpoints, and each classifier of this project by its name."""
SSDS = {spec.name: spec for spec in (SSDSpec(name="ssd320", backbone=_RESNET_V1_50),)}

CHOSEN_CONVOLUTIONS = "chosen_convolutions"
"""Collection of a training graph with a ``ChosenConvolution`` for each convolution whose formulations were chosen."""


class ChosenConvolution(NamedTuple):
    """A convolution of a graph.

    Attributes:
        key: Its shape and type as text.
        names: The formulations of its forward direction, input gradient and filter gradient.
        rules: Those that the built-in rules choose.
        excess: Multiplications in the graph for the forward direction of a batch beyond those of a plain convolution;
            negative if they are fewer.
    """

    key: str
    names: tuple[str, str, str]
    rules: tuple[str, str, str]
    excess: int
