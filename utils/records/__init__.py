"""TFRecord files: frames, examples, manifests and indexes."""
