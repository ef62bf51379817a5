"""Objects in a picture, step by step as programs with OpenCV 4 did it.

    python opencv_tutorial.py NET.cfg NET.weights NAMES PICTURE WIDTH HEIGHT

Only one line differs from a program for OpenCV 4, the one that is marked.
"""

import sys

import cv2
import numpy as np

import pydarknet.dnn as dnn  # OpenCV 4: from cv2 import dnn

CONFIDENCE, OVERLAP = 0.3, 0.4

cfg, weights, names, picture, width, height = sys.argv[1:]
with open(names) as stream:  # noqa: PTH123
    labels = stream.read().splitlines()

net = dnn.readNetFromDarknet(cfg, weights)
net.setPreferableBackend(dnn.DNN_BACKEND_OPENCV)
net.setPreferableTarget(dnn.DNN_TARGET_CPU)
layers = net.getLayerNames()
ends = [layers[number - 1] for number in net.getUnconnectedOutLayers()]
assert ends == list(net.getUnconnectedOutLayersNames())

image = cv2.imread(picture)
rows, columns = image.shape[:2]
net.setInput(dnn.blobFromImage(image, 1 / 255.0, (int(width), int(height)), swapRB=True, crop=False))
outputs = net.forward(ends)
ticks, _ = net.getPerfProfile()
assert 0 < ticks / cv2.getTickFrequency() < 60

boxes, confidences, class_ids = [], [], []
for output in outputs:
    for row in output:
        scores = row[5:]
        class_id = np.argmax(scores)
        confidence = scores[class_id]
        if confidence > CONFIDENCE:
            x, y, w, h = row[:4] * np.array([columns, rows, columns, rows])
            boxes.append([int(x - w / 2), int(y - h / 2), int(w), int(h)])
            confidences.append(float(confidence))
            class_ids.append(class_id)

for index in dnn.NMSBoxes(boxes, confidences, CONFIDENCE, OVERLAP):
    print(labels[class_ids[index]], f"{confidences[index]:.4f}", *boxes[index])
