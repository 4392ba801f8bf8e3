"""A COCO data set turned into records: which image goes where, and what its record holds."""
