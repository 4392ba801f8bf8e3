"""The forward pass of the networks in plain NumPy, float64, from only the table row and the published variable names.

Written to be read, not to be fast. Images and feature maps are [N, H, W, C], kernels [height, width, in / groups, out].
"""

import numpy as np

DECAY = 0.9


class Network:
    """A network with given weights.

    Args:
        spec: A row of ``model.specs.RESNETS``, or a smaller one.
        weights: Arrays by variable name.
        training: Whether batch normalization uses the batch's statistics.
    """

    def __init__(self, spec, weights, *, training):
        self.spec = spec
        self.weights = {name: np.asarray(array, np.float64) for name, array in weights.items()}
        self.training = training
        self.moved = {}
        """The moving statistics after one training step, once ``logits`` has run."""

    def logits(self, images):
        """Returns logits [N, K] of normalized images [N, H, W, 3]."""
        root = self.spec.name
        x = relu(self.conv_bn(images.astype(np.float64), f"{root}/conv2d", stride=2))
        x = windows(x, 3, 2, -np.inf, alike=self.spec.symmetric_pooling).max(axis=(-2, -1))
        for stage, blocks in enumerate(self.spec.blocks):
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                if self.spec.block == "basic":
                    x = self.basic(x, f"{root}/basic_block_{stage}_{block}", stride)
                else:
                    x = self.bottleneck(x, f"{root}/btlnck_block_{stage}_{block}", stride)
        return self.dense(x.mean(axis=(1, 2)), f"{root}/output/dense")

    def basic(self, x, scope, stride):
        residual = relu(self.conv_bn(x, f"{scope}/basic_1", stride=stride))
        residual = self.conv_bn(residual, f"{scope}/basic_2")
        return self.sum(x, self.excited(residual, f"{scope}/basic_se_layer"), scope, stride)

    def bottleneck(self, x, scope, stride):
        first, second = (stride, 1) if self.spec.stride_first else (1, stride)
        residual = relu(self.conv_bn(x, f"{scope}/bottleneck_1", stride=first))
        residual = relu(self.conv_bn(residual, f"{scope}/bottleneck_2", stride=second))
        residual = self.conv_bn(residual, f"{scope}/bottleneck_3")
        return self.sum(x, self.excited(residual, f"{scope}/bottleneck_se_layer"), scope, stride)

    def excited(self, x, scope):
        if not self.spec.se_ratio:
            return x
        squeeze = relu(self.dense(x.mean(axis=(1, 2)), f"{scope}/dense"))
        gate = sigmoid(self.dense(squeeze, f"{scope}/dense_1"))
        return x * gate[:, None, None, :]

    def sum(self, x, residual, scope, stride):
        if f"{scope}/shortcut/conv2d/conv2d/kernel" in self.weights:
            x = self.conv_bn(x, f"{scope}/shortcut/conv2d", stride=stride)
        return relu(residual + x)

    def conv_bn(self, x, scope, stride=1):
        grouped = f"{scope}/bottleneck_2group_filter"
        alike = self.spec.symmetric_padding
        if grouped in self.weights:
            return self.batch_norm(conv(x, self.weights[grouped], stride, self.spec.cardinality, alike=alike), scope)
        return self.batch_norm(conv(x, self.weights[f"{scope}/conv2d/kernel"], stride, alike=alike), scope)

    def batch_norm(self, x, scope):
        names = [f"{scope}/BatchNorm/{kind}" for kind in ("gamma", "beta", "moving_mean", "moving_variance")]
        gamma, beta, mean, variance = (self.weights[name] for name in names)
        if self.training:
            count = x[..., 0].size
            batch_mean, batch_variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
            self.moved[names[2]] = DECAY * mean + (1 - DECAY) * batch_mean
            self.moved[names[3]] = DECAY * variance + (1 - DECAY) * batch_variance * count / (count - 1)
            mean, variance = batch_mean, batch_variance
        return gamma * (x - mean) / np.sqrt(variance + self.spec.batch_norm.epsilon) + beta

    def dense(self, x, scope):
        return x @ self.weights[f"{scope}/kernel"] + self.weights[f"{scope}/bias"]


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def windows(x, size, stride, fill, *, alike):
    """Returns the windows of a map under SAME padding, [N, h, w, C, size, size]; odd padding goes below and right.

    With ``alike``, both sides are padded by half of the kernel.
    """
    padding = [(0, 0)]
    for length in x.shape[1:3]:
        total = max((-(-length // stride) - 1) * stride + size - length, 0)
        padding.append((size // 2, size // 2) if alike else (total // 2, total - total // 2))
    x = np.pad(x, [*padding, (0, 0)], constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride]


def conv(x, kernel, stride, groups=1, *, alike=False):
    """Convolves; each group of output channels reads its own slice of the input channels."""
    size, _, depth, filters = kernel.shape
    taps = windows(x, size, stride, 0.0, alike=alike)
    n, h, w = taps.shape[:3]
    taps = taps.reshape(n * h * w, groups, depth * size * size).transpose(1, 0, 2)
    kernel = kernel.transpose(2, 0, 1, 3).reshape(depth * size * size, groups, filters // groups).transpose(1, 0, 2)
    return (taps @ kernel).transpose(1, 0, 2).reshape(n, h, w, filters)
