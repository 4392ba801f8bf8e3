"""Objects of images as padded groundtruth."""

import numpy as np

from object_detection.groundtruth import Groundtruth


def padded(images, rows=100):
    """Returns the padded groundtruth of a batch as NumPy arrays."""
    boxes = np.zeros((len(images), rows, 4), np.float32)
    labels, weights = np.zeros((len(images), rows), np.int32), np.zeros((len(images), rows), np.float32)
    for n, objects in enumerate(images):
        for g, (box, label, weight) in enumerate(objects):
            boxes[n, g], labels[n, g], weights[n, g] = box, label, weight
    return Groundtruth(boxes, labels, weights, np.zeros((len(images), rows), bool))
