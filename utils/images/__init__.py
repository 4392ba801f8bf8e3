"""Image files as bytes that TensorFlow decodes, and text drawn into images."""
