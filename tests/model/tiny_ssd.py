"""SSD320 with a handful of channels, the variable names of the real one, and weights derived from names."""

import zlib
from dataclasses import replace

import numpy as np

from model.specs import SSDS

SMALL = {"blocks": (1, 1, 1, 1), "widths": (4, 8, 8, 8), "stem_width": 4}
TINY_SSD = replace(SSDS["ssd320"], backbone=replace(SSDS["ssd320"].backbone, **SMALL), width=8, tower_layers=1)

STATISTICS = ("gamma", "beta", "moving_mean", "moving_variance")
BACKBONE = "FeatureExtractor/resnet_v1_50"
PREDICTOR = "WeightSharedConvolutionalBoxPredictor"


def variables_of_ssd320(class_slots=91):
    """Returns the shape of each variable in SSD320's published checkpoints by name, in order of construction."""
    shapes = {}

    def layer(scope, *kernel, norms=("BatchNorm",)):
        shapes[f"{scope}/weights"] = kernel
        shapes.update({f"{scope}/{norm}/{kind}": kernel[3:] for norm in norms for kind in STATISTICS})
        if not norms:
            shapes[f"{scope}/biases"] = kernel[3:]

    layer(f"{BACKBONE}/conv1", 7, 7, 3, 64)
    channels = 64
    for block, (units, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), 1):
        for unit in range(1, units + 1):
            scope = f"{BACKBONE}/block{block}/unit_{unit}/bottleneck_v1"
            if unit == 1:
                layer(f"{scope}/shortcut", 1, 1, channels, 4 * width)
            layer(f"{scope}/conv1", 1, 1, channels, width)
            layer(f"{scope}/conv2", 3, 3, width, width)
            layer(f"{scope}/conv3", 1, 1, width, 4 * width)
            channels = 4 * width
    for number, channels in ((1, 512), (2, 1024), (3, 2048)):
        layer(f"{BACKBONE}/fpn/projection_{number}", 1, 1, channels, 256, norms=())
    for name in ("smoothing_1", "smoothing_2", "bottom_up_block5", "bottom_up_block6"):
        layer(f"{BACKBONE}/fpn/{name}", 3, 3, 256, 256)
    levels = tuple(f"BatchNorm/feature_{level}" for level in range(5))
    for kind, outputs in (("Box", 24), ("Class", 6 * class_slots)):
        for number in range(4):
            layer(f"{PREDICTOR}/{kind}PredictionTower/conv2d_{number}", 3, 3, 256, 256, norms=levels)
        layer(f"{PREDICTOR}/{kind}Predictor", 3, 3, 256, outputs, norms=())
    return shapes


def weights_by_name(name, shape):
    """Draws values like those after training, seeded by the variable's name."""
    values = np.random.default_rng(zlib.crc32(name.encode())).normal(size=shape)
    kind = name.rpartition("/")[2]
    if kind in ("weights", "kernel"):
        values *= np.sqrt(2 / np.prod(shape[:-1]))
    else:
        values = {"gamma": 1.0, "moving_variance": 1.0}.get(kind, 0.0) + 0.1 * values
    return values.astype(np.float32)


def load_by_name(variables, session):
    """Loads the weights derived from the variables' names."""
    load(session, {v: weights_by_name(v.op.name, v.shape.as_list()) for v in variables})


def load(session, values):
    """Loads values into variables in one run; one run per variable takes longer than computing with the graph."""
    session.run([v.initializer for v in values], {v.initializer.inputs[1]: value for v, value in values.items()})
