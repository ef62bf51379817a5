"""Good examples that several kinds damage or need beside what they damage."""

from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SMALL_CFG = """[net]
width=16
height=16
channels=3
batch=1
[convolutional]
filters=4
size=3
stride=2
pad=1
batch_normalize=1
activation=leaky
[maxpool]
size=2
stride=2
[connected]
output=3
activation=linear
[softmax]
"""
YOLO = """[yolo]
mask=0,1
anchors=4,5, 8,9
classes=2
num=2
"""
MIXED_CFG = (
    """[net]
width=32
height=32
channels=3
[convolutional]
filters=8
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters=8
size=1
groups=2
activation=mish
[shortcut]
from=-2
activation=linear
[maxpool]
size=2
stride=2
[upsample]
stride=2
[route]
layers=-1,0
[dropout]
probability=.5
[reorg]
stride=2
[convolutional]
filters=14
size=1
activation=linear
"""
    + YOLO
)
VOC = """<annotation><folder>x</folder>
<filename>a.png</filename><size><width>20</width><height>10</height><depth>3</depth>
</size><object><name>dog</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8.5</ymax>
</bndbox></object><object><name>cat</name><bndbox><xmin>3</xmin><ymin>2</ymin><xmax>19</xmax><ymax>8</ymax></bndbox>
</object></annotation>"""
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 10}, {"id": 7, "file_name": "b.png"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 5.5, 6], "iscrowd": 0}],
    "categories": [{"id": 3, "name": "dog"}, {"id": 5, "name": "cat"}],
}


def file(name: str, content: bytes) -> str:
    """Write a file; its name."""
    Path(name).write_bytes(content)
    return name


def picture() -> bytes:
    """A black picture, 20x10, as a PNG file."""
    return cv2.imencode(".png", np.zeros((10, 20, 3), np.uint8))[1].tobytes()


def picture_set() -> None:
    """Two pictures with labels, their list, and the names of two classes."""
    file("train.txt", b"a.png\nb.png\n")
    file("obj.names", b"dog\ncat\n")
    file("a.txt", b"0 .5 .5 .2 .2\n1 .4 .4 .1 .3\n")
    file("b.txt", b"")
    file("a.png", picture())
    file("b.png", picture())


def video() -> bytes:
    """Four frames of motion JPEG in an AVI file."""
    writer = cv2.VideoWriter("seed.avi", cv2.VideoWriter_fourcc(*"MJPG"), 10, (32, 24))
    for number in range(4):
        writer.write(np.full((24, 32, 3), 60 * number, np.uint8))
    writer.release()
    content = Path("seed.avi").read_bytes()
    Path("seed.avi").unlink()
    return content
