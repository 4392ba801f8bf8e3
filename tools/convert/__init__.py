"""Images in folders or archives, turned into records: what there is, what will be written, and the writing."""
