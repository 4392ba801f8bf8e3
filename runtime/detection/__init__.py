"""The task of object detection, and the options of its networks."""
