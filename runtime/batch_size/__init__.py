"""``--batch_size auto``: a search of the largest batch by trials."""
