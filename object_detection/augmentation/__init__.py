"""Augmentation of images with objects: of single images, and by other images of the batch."""
