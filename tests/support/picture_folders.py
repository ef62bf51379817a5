"""Folders of labelled pictures in the forms that labelling programs write."""

import json
import struct
from pathlib import Path

import cv2
import numpy as np

CLASSES = ("red", "green", "blue")
WIDTH, HEIGHT = 64, 48


def draw(path: Path, number: int) -> list[tuple[int, int, int, int, int]]:
    """Write a picture with one or two rectangles: (class, left, top, width, height) in pixels of each."""
    rng = np.random.default_rng(number)
    image = rng.integers(0, 60, (HEIGHT, WIDTH, 3), np.uint8)
    boxes = []
    for place in range(1 + number % 2):
        kind = int(rng.integers(len(CLASSES)))
        width, height = (int(side) for side in rng.integers(12, 20, 2))
        left, top = place * 32 + int(rng.integers(0, 10)), int(rng.integers(0, HEIGHT - height))
        image[top : top + height, left : left + width, 2 - kind] = 230
        boxes.append((kind, left, top, width, height))
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return boxes


def turned(number: int, order: str = "<", width: int = 53, height: int = 37) -> bytes:
    """A JPEG file with an EXIF orientation, behind another tag."""
    tags = struct.pack(order + "H", 2)
    tags += struct.pack(order + "HHIHH", 0x0100, 3, 1, 9, 0) + struct.pack(order + "HHIHH", 0x0112, 3, 1, number, 0)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    exif = b"Exif\0\0" + mark + struct.pack(order + "I", 8) + tags + bytes(4)
    content = cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8))[1].tobytes()
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:]


def label(boxes) -> str:
    """The rows of a label file."""
    return "".join(
        f"{kind} {(x + w / 2) / WIDTH:.6f} {(y + h / 2) / HEIGHT:.6f} {w / WIDTH:.6f} {h / HEIGHT:.6f}\n"
        for kind, x, y, w, h in boxes
    )


def labelled(folder: Path, count: int = 20, first: int = 0, beside: bool = True) -> Path:
    """Pictures with label files beside them, or both in the folders `images` and `labels`."""
    for number in range(first, first + count):
        picture = folder / f"p{number}.png" if beside else folder / "images" / f"p{number}.png"
        text = picture.with_suffix(".txt") if beside else folder / "labels" / f"p{number}.txt"
        boxes = draw(picture, number)
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text(label(boxes))
    return folder


def with_names(folder: Path, name: str = "classes.txt") -> Path:
    """The folder, with a file of the classes' names."""
    (folder / name).write_text("".join(f"{name}\n" for name in CLASSES))
    return folder


def coco(folder: Path, file: Path, count: int = 20, first: int = 0, root: bool = False) -> Path:
    """Pictures in a folder, and a JSON file; root: with Roboflow's category 0 for all classes together."""
    offset = 1 if root else 0
    categories = [{"id": k + offset, "name": name} for k, name in enumerate(CLASSES)]
    content = {"images": [], "annotations": [], "categories": ([{"id": 0, "name": "all"}] if root else []) + categories}
    for number in range(first, first + count):
        boxes = draw(folder / f"p{number}.png", number)
        content["images"].append({"id": number, "file_name": f"p{number}.png", "width": WIDTH, "height": HEIGHT})
        for kind, *box in boxes:
            annotation = {"id": len(content["annotations"]), "image_id": number, "category_id": kind + offset}
            content["annotations"].append({**annotation, "bbox": box, "iscrowd": 0})
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def voc(pictures: Path, annotations: Path, count: int = 20, first: int = 0) -> None:
    """Pictures, and one XML file for each."""
    annotations.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        objects = "".join(
            f"<object><name>{CLASSES[kind]}</name><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
            f"<xmax>{x + w + 1}</xmax><ymax>{y + h + 1}</ymax></bndbox></object>"
            for kind, x, y, w, h in draw(pictures / f"p{number}.png", number)
        )
        size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
        text = f"<annotation><filename>p{number}.png</filename>{size}{objects}</annotation>"
        (annotations / f"p{number}.xml").write_text(text)
