"""What is wrong with the objects of a data set: in records, and in annotation files of COCO's format."""
