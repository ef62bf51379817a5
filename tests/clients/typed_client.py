"""A program that uses the Python API with types; `test_typing.py` has mypy look at it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_type

import pydarknet
from pydarknet import Box, Detection, Detections, Model, dnn

net = pydarknet.load("toys.cfg", "toys.weights", threads=2)
assert_type(net, Model)
found = net.detect(Path("toys.jpg"), thresh=0.3)
assert_type(found, Detections)
assert_type(found[0], Detection)
assert_type(found[0].box, Box)
assert_type(found[:2], Detections)
assert_type(found.xyxy, NDArray[np.float32])
assert_type(found.class_id, NDArray[np.int64])
assert_type(found.save("found.jpg"), Path)
assert_type(found.to_csv(), str)
assert_type(found[0].box.xyxy, tuple[float, float, float, float])
names: list[str] = [detection.name for detection in found]
picture = np.zeros((8, 8, 3), np.uint8)
assert_type(net.detect(picture, bgr=True), Detections)
assert_type(net.detect([picture, picture], batch=2), Iterator[Detections])
assert_type(net.detect(path for path in ("a.jpg", "b.jpg")), Iterator[Detections])
assert_type(net.classify(b"..."), list[tuple[str, float]])
assert_type(net.names, list[str])
opencv = dnn.readNetFromDarknet("toys.cfg", np.zeros(3, np.uint8))
opencv.setInput(dnn.blobFromImage(picture, 1 / 255, (224, 160), swapRB=True))
assert_type(opencv, dnn.Net)
assert_type(opencv.forward(), NDArray[np.float32])
assert_type(opencv.forward("conv_0"), NDArray[np.float32])
assert_type(opencv.forward(opencv.getUnconnectedOutLayersNames()), tuple[NDArray[np.float32], ...])
detector = dnn.DetectionModel(opencv).setInputSize(224, 160)
assert_type(detector, dnn.DetectionModel)
assert_type(detector.detect(picture, 0.5)[0], NDArray[np.int32])
net.detect(3)  # EXPECT-ERROR
net.detect("a.jpg", tresh=0.3)  # EXPECT-ERROR
