"""Networks as inference runs them: weights prepared once, oneDNN's convolutions, mirror images."""
