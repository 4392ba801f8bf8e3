"""Batches of examples: order, readers, decoding and batching."""
