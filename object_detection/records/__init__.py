"""Records of images with objects: keys, and rules for boxes and masks."""
