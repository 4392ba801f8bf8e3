"""The arguments that all layers of one network share, bound once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import tensorflow as tf

from model.layers.choices import Choices
from model.layers.fake_quant import FakeQuantizer
from model.layers.variable import tf1
from model.specs import BatchNormSpec, NormalInit, QuantizationSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerOptions:
    """Options shared by all layers of a network.

    Attributes:
        data_format: "NHWC" or "NCHW", the layout that the network computes in.
        training: Whether batch normalization uses the batch's statistics and updates the moving ones.
        average: Averages a tensor over the replicas, if batch normalization synchronizes their statistics.
        replicas: Number of these replicas.
        freeze_batch_norm: Whether to train with the moving statistics and leave them unchanged.
        freeze_backbone: The same for the residual network alone, without the layers on top of it.
        batch_norm: Constants of batch normalization.
        norm: Normalization after convolutions, "batch" or "group".
        branch: Name of this use of a kernel, if several uses have their own normalization and ranges.
        kernel_name: Name of a convolution's kernel in its scope.
        kernel_init: Initial values of convolution kernels, or None for variance scaling.
        weight_init: Mode of the variance scaling of kernels, "fan_in" or "fan_out".
        head_init: Initial values of a classifier's last kernel: "original", scaled by ``weight_init`` as those of all
            kernels, or "small", which are zeros.
        zero_init_residual: Whether the last normalization of each residual block begins with a gamma of 0.
        zero_gamma: Whether gamma begins at 0 instead of 1.
        branch_factors: [N, B], the factors of the residual branches of N images, a column for each of B blocks; within
            a block [N]; or None.
        feature_factors: [N, C], the factors of a classifier's features, or None.
        symmetric_padding: Whether strided convolutions pad all sides alike, instead of as TensorFlow's SAME does.
        device: "cpu" or "gpu". The numbers are the same up to rounding; some layers compute them in other operations,
            because the quickest ones are not the same.
        compute_dtype: Type of activations and of kernels in use. Variables, batch-norm statistics and logits are
            always float32.
        grouped_convolution: "native", or "split" if the device has no kernel for groups.
        choices: Chooses the formulations of the convolutions that train on a CPU in NHWC.
        quantization: Quantization of weights and activations, or None.
        quantizer: The quantizer of the network under construction; the networks set it.
        input_range: Lowest and highest value of normalized images.
        seed: Initial values depend on it and on the variable's name, not on the order of construction.
    """

    data_format: str = "NHWC"
    training: bool = False
    average: Callable[[Any], Any] | None = None
    replicas: int = 1
    freeze_batch_norm: bool = False
    freeze_backbone: bool = False
    batch_norm: BatchNormSpec = field(default_factory=BatchNormSpec)
    norm: str = "batch"
    branch: str = ""
    kernel_name: str = "conv2d/kernel"
    kernel_init: NormalInit | None = None
    weight_init: str = "fan_out"
    head_init: str = "original"
    zero_init_residual: bool = False
    zero_gamma: bool = False
    branch_factors: tf.Tensor | None = None
    feature_factors: tf.Tensor | None = None
    symmetric_padding: bool = False
    device: str = "cpu"
    compute_dtype: tf.DType = tf.float32
    grouped_convolution: str = "native"
    choices: Choices = field(default_factory=Choices)
    quantization: QuantizationSpec | None = None
    quantizer: FakeQuantizer | None = None
    input_range: tuple[float, float] = (-1.0, 1.0)
    seed: int = 0

    def by_zero_point(self) -> LayerOptions:
        """Returns these options with quantization by scale and zero point in place of a scale alone."""
        return replace(self, quantization=self.quantization and self.quantization.by_zero_point())

    @property
    def norm_name(self) -> str:
        """Scope of the variables of batch normalization, within that of its convolution."""
        return f"BatchNorm/{self.branch}" if self.branch else "BatchNorm"

    @property
    def uses_batch_statistics(self) -> bool:
        return self.training and not self.freeze_batch_norm

    @property
    def channel_axis(self) -> int:
        return 3 if self.data_format == "NHWC" else 1

    @property
    def spatial_axes(self) -> tuple[int, int]:
        return (1, 2) if self.data_format == "NHWC" else (2, 3)

    def strides(self, stride: int) -> list[int]:
        """Returns the four-element form of one spatial stride."""
        return [1, stride, stride, 1] if self.data_format == "NHWC" else [1, 1, stride, stride]


def of_last_norm(options: LayerOptions) -> LayerOptions:
    """Returns the options for the last convolution of a residual block.

    Source: Goyal et al., Accurate, Large Minibatch SGD, arXiv:1706.02677, section 5.1.
    """
    return replace(options, zero_gamma=True) if options.zero_init_residual else options


def of_block(options: LayerOptions, number: int) -> LayerOptions:
    """Returns the options for a residual block, counted from 0 over all stages."""
    factors = options.branch_factors
    return options if factors is None else replace(options, branch_factors=factors[:, number])


def with_quantizer(options: LayerOptions) -> LayerOptions:
    """Returns the options for building one network in the current graph, with a quantizer if it is quantized."""
    if options.quantization is None:
        return options
    quantizer = FakeQuantizer(
        options.quantization, training=options.training, dtype=options.compute_dtype, device=options.device
    )
    return replace(options, quantizer=quantizer)


def variance_scaling(options: LayerOptions, name: str, *, scale: float, mode: str) -> Any:
    """Returns a truncated normal initializer of variance ``scale / fan``, seeded by the variable's full name.

    Source: He et al., Delving Deep into Rectifiers, arXiv:1502.01852.
    """
    return tf1.variance_scaling_initializer(
        scale=scale, mode=mode, distribution="truncated_normal", seed=_seed_of(options, name)
    )


def normal(options: LayerOptions, name: str, init: NormalInit) -> Any:
    """Returns a normal initializer of fixed standard deviation, seeded by the variable's full name."""
    kind = tf1.truncated_normal_initializer if init.truncated else tf1.random_normal_initializer
    return kind(stddev=init.stddev, seed=_seed_of(options, name))


def _seed_of(options: LayerOptions, name: str) -> int:
    full_name = f"{tf1.get_variable_scope().name}/{name}"
    digest = hashlib.sha256(f"{options.seed}:{full_name}".encode()).digest()
    return int.from_bytes(digest[:4], "little") >> 1
