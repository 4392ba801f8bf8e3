"""TFRecord files: framing, examples, manifests and indexes."""
