"""What a data set looks like: sheets of pictures, charts and numbers."""
