"""Conversion of images in folders or archives to records: reading the source, planning the shards, writing them."""
