"""What is wrong with a data set: its files, images and labels, what it has twice, and a copy without the faults."""
