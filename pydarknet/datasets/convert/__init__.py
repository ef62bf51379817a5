"""Data sets converted between darknet, COCO and PASCAL VOC."""
