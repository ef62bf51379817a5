"""Reference implementation of `detector map`: average precision rank by rank. Slow."""

import numpy as np


def overlap(a, b):
    """IoU of two boxes (centre, size), in float32."""
    a, b = np.float32(a), np.float32(b)
    half = np.float32(0.5)
    sides = []
    for axis in (0, 1):
        low = max(a[axis] - a[axis + 2] * half, b[axis] - b[axis + 2] * half)
        high = min(a[axis] + a[axis + 2] * half, b[axis] + b[axis + 2] * half)
        sides.append(high - low)
    if min(sides) < 0:
        return np.float32(0)
    common = sides[0] * sides[1]
    union = a[2] * a[3] + b[2] * b[3] - common
    return common / union if union else np.float32(0)


def best_truth(box, number, truth, iou_thresh):
    best, value = -1, np.float32(0)
    for j, row in enumerate(truth):
        common = overlap(box, row[1:])
        if common > np.float32(iou_thresh) and row[0] == number and common > value:
            best, value = j, common
    return best, value


def collect(pictures, classes, thresh, iou_thresh):
    """(records, counts): records of (probability, class, object or None); counts of tp, fp, truths a class, overlap."""
    records, offset, total = [], 0, np.float32(0)
    counts = np.zeros((3, classes), int)
    for boxes, probabilities, truth, difficult in pictures:
        claimed = set()
        for row in truth:
            counts[2, int(row[0])] += 1
        for i, box in enumerate(boxes):
            for number in range(classes):
                p = probabilities[i, number]
                if p <= 0:
                    continue
                j, common = best_truth(box, number, truth, iou_thresh)
                if j >= 0 or best_truth(box, number, difficult, iou_thresh)[0] < 0:
                    records.append((p, number, None if j < 0 else offset + j))
                if p > np.float32(thresh):
                    true = j >= 0 and j not in claimed
                    counts[0 if true else 1, number] += 1
                    total = np.float32(total + (common if true else 0))
                if j >= 0:
                    claimed.add(j)
        offset += len(truth)
    return records, counts, total / np.float32(max(1, counts[:2].sum()))


def average_precisions(records, truths, points):
    """Average precision of each class, from a table of precision and recall over all ranks of all classes."""
    classes, ranks = len(truths), len(records)
    if not ranks:
        return np.zeros(classes)
    ordered = sorted(records, key=lambda record: -record[0])
    precision, recall = np.zeros((ranks, classes)), np.zeros((ranks, classes))
    tp, fp, taken = np.zeros(classes), np.zeros(classes), set()
    for rank, (_, number, claimed) in enumerate(ordered):
        if claimed is not None and claimed not in taken:
            taken.add(claimed)
            tp[number] += 1
        else:
            fp[number] += 1
        for k in range(classes):
            precision[rank, k] = tp[k] / (tp[k] + fp[k]) if tp[k] + fp[k] else 0
            recall[rank, k] = tp[k] / truths[k] if truths[k] else 0
    return np.array([_one(precision[:, k], recall[:, k], points) for k in range(classes)])


def _one(precision, recall, points):
    if points:
        step = 1 / (points - 1)  # the C is compiled to multiply by it
        at = [precision[recall >= i * step].max(initial=0) for i in range(points)]
        return sum(at) / points
    last_recall, last_precision, area = recall[-1], precision[-1], 0.0
    for rank in reversed(range(len(recall) - 1)):
        step = last_recall - recall[rank]
        last_recall = recall[rank]
        last_precision = max(last_precision, precision[rank])
        area += step * last_precision
    return area + last_recall * last_precision
