"""Image files converted for TensorFlow, and text drawn into images."""
