"""What a module with cv2.dnn's names answers for a list of networks: run with OpenCV 4's Python, or imported here.

    python tests/dnn/opencv.py JOBS.json ANSWERS.npz

JOBS.json is a list of jobs, see `answers`; ANSWERS.npz has their arrays by `<number of the job>/<name>`. Needs numpy
and cv2 alone.
"""

import json
import sys

import cv2
import numpy as np


def picture(path, size):
    """The blob of a picture, RGB from 0 to 1, stretched to (width, height) pixels."""
    return cv2.dnn.blobFromImage(cv2.imread(path), 1 / 255, tuple(size), swapRB=True, crop=False)


def answers(dnn, job):
    """{name: array} for a job: the names of the layers, and what it asks for.

    cfg, weights: paths; without weights only names and types. inputs: .npy files, each with an input. layers: names of
    layers whose outputs are wanted, all in one pass; null for those that no other layer reads. frames, detect: pictures
    for a DetectionModel at this size (width, height), with these (confidence, nms, across) triples.
    """
    net = dnn.readNetFromDarknet(job["cfg"], *([job["weights"]] if "weights" in job else []))
    names = net.getLayerNames()
    found = {"names": np.array(names), "unconnected": net.getUnconnectedOutLayers()}
    if "weights" in job:
        found["types"] = np.array([net.getLayer(name).type for name in names])
    for number, path in enumerate(job.get("inputs", [])):
        net.setInput(np.load(path))
        for name, output in zip(wanted(net, job), net.forward(wanted(net, job)), strict=True):
            found[f"{number}/{name}"] = output
    if "detect" in job:
        model = dnn.DetectionModel(net)
        model.setInputParams(1 / 255, tuple(job["size"]), (0, 0, 0), True, False)
        for number, frame in enumerate(job["frames"]):
            for at, (confidence, nms, across) in enumerate(job["detect"]):
                model.setNmsAcrossClasses(across)
                ids, scores, boxes = model.detect(cv2.imread(frame), confidence, nms)
                rows = np.column_stack([ids, scores, np.reshape(boxes, (-1, 4))]) if len(ids) else np.zeros((0, 6))
                found[f"detect/{number}/{at}"] = rows.astype(np.float32)
    return found


def wanted(net, job):
    """The names of the layers that a job asks for."""
    return job.get("layers") or net.getUnconnectedOutLayersNames()


def main(jobs, target):
    arrays = {}
    with open(jobs, encoding="utf-8") as stream:  # noqa: PTH123
        for number, job in enumerate(json.load(stream)):
            arrays |= {f"{number}/{name}": array for name, array in answers(cv2.dnn, job).items()}
    np.savez_compressed(target, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
