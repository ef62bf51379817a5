"""Conversion of data sets between darknet, COCO and PASCAL VOC."""
