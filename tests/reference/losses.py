"""Reference implementations of the heads' losses: one loop per sentence of what darknet does, float64, nothing shared.

Every function takes a head's activated output and returns (delta, cost, sums): the delta as the head adds it to the
layer before, in that layer's order, and a dictionary of what is printed. `o` holds the options of the section.
"""

import math
from collections import Counter
from types import SimpleNamespace

import numpy as np

from pydarknet.config.dialect import DIALECTS
from pydarknet.config.sections import Option, Section
from pydarknet.layers import layer_class
from pydarknet.layers.base import BuildContext
from pydarknet.tensor import Layout, Shape, Tensor

# --- heads to test -------------------------------------------------------------------------------------------------


def section_of(kind, options, dialect="pjreddie", path="net.cfg"):
    """A section as the builder passes it to a layer."""
    lines = [
        Option(key, str(value).replace(" ", ""), number) for number, (key, value) in enumerate(options.items(), start=2)
    ]
    return Section(kind, str(path), 1, lines, DIALECTS[dialect].foreign_keys(kind))


def make_head(kind, options, shape, dialect="pjreddie", batch=2, path="net.cfg"):
    """A head alone, bound to an input of `shape` (channels, height, width)."""
    section, input_ = section_of(kind, options, dialect, path), Shape(*shape)
    before = SimpleNamespace(shape=input_)
    place = BuildContext(1, [before], input_, DIALECTS[dialect], Section("net", str(path), 1))
    head = layer_class(kind, DIALECTS[dialect]).from_section(section, place)
    head.reshape([input_], batch)
    head.setup([Tensor(Layout(batch, input_))], None)
    return head


def run(head, x):
    """The head's forward pass on x (batch, ...)."""
    head.source_tensors[0].fill(np.ascontiguousarray(x, np.float32).reshape(len(x), -1))
    head.forward()


def random_truth(rng, batch, classes, most=6, smallest=0.1, largest=0.7):
    """For each item of a batch a few random boxes; the first picture has none of them left out."""
    result = []
    for item in range(batch):
        count = most if item == 0 else int(rng.integers(0, most))
        sizes = rng.uniform(smallest, largest, (count, 2))
        centres = rng.uniform(0.02, 0.98, (count, 2))
        result.append(np.column_stack([rng.integers(0, classes, count), centres, sizes]).astype(np.float32))
    return result


# --- boxes ---------------------------------------------------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def edges(b):
    x, y, w, h = b
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def areas(a, b):
    """(intersection, union, enclosing width, enclosing height)"""
    la, ta, ra, ba = edges(a)
    lb, tb, rb, bb = edges(b)
    w, h = min(ra, rb) - max(la, lb), min(ba, bb) - max(ta, tb)
    common = w * h if w >= 0 and h >= 0 else 0.0
    return common, a[2] * a[3] + b[2] * b[3] - common, max(ra, rb) - min(la, lb), max(ba, bb) - min(ta, tb)


def overlap(a, b, kind="iou"):
    common, union, w, h = areas(a, b)
    value = common / union if common and union else 0.0
    if kind == "giou" and w * h:
        return value - (w * h - union) / (w * h)
    if kind in ("diou", "ciou") and w * w + h * h:
        apart = ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) / (w * w + h * h)
        if kind == "diou":
            return value - apart**0.6
        turn = 4 / math.pi**2 * (math.atan(b[2] / b[3]) - math.atan(a[2] / a[3])) ** 2
        return value - (apart + turn * turn / (1 - value + turn + 1e-6))
    return value


def overlap_gradient(p, t, kind):
    """The gradient of one pair's IoU with respect to x, y, w, h of the predicted box, as darknet computes it."""
    p = [float(v) for v in p]
    p[2:] = p[2] or 1.0, p[3] or 1.0
    left, top, right, bottom = edges(p)
    tl, tt, tr, tb = edges(t)
    iw, ih = min(right, tr) - max(left, tl), min(bottom, tb) - max(top, tt)
    common = iw * ih
    union = (right - left) * (bottom - top) + (tr - tl) * (tb - tt) - common
    cw, ch = max(right, tr) - min(left, tl), max(bottom, tb) - min(top, tt)
    d_area = {"t": left - right, "b": right - left, "l": top - bottom, "r": bottom - top}
    d_common = {
        "t": -iw if top > tt else 0.0,
        "b": iw if bottom < tb else 0.0,
        "l": -ih if left > tl else 0.0,
        "r": ih if right < tr else 0.0,
    }
    d_outer = {
        "t": -cw if top < tt else 0.0,
        "b": cw if bottom > tb else 0.0,
        "l": -ch if left < tl else 0.0,
        "r": ch if right > tr else 0.0,
    }
    step = {}
    for e in "tblr":
        d_union = d_area[e] - d_common[e]
        step[e] = (union * d_common[e] - common * d_union) / union**2 if union > 0 else 0.0
        if kind == "giou":
            outer = cw * ch
            extra = (outer * d_union - union * d_outer[e]) / outer**2
            step[e] = extra if iw <= 0 or ih <= 0 else step[e] + extra
    result = [step["l"] + step["r"], step["t"] + step["b"], step["r"] - step["l"], step["b"] - step["t"]]
    if kind in ("diou", "ciou"):
        c, s = cw**2 + ch**2, (p[0] - t[0]) ** 2 + (p[1] - t[1]) ** 2
        x_moves, w_grows = (right > tr) - (left < tl), ((right > tr) + (left < tl)) / 2
        y_moves, h_grows = (bottom > tb) - (top < tt), ((bottom > tb) + (top < tt)) / 2
        extra = [
            (2 * (t[0] - p[0]) * c - 2 * cw * x_moves * s) / c**2,
            (2 * (t[1] - p[1]) * c - 2 * ch * y_moves * s) / c**2,
            2 * cw * w_grows * s / c**2,
            2 * ch * h_grows * s / c**2,
        ]
        if kind == "ciou":
            turn = math.atan(t[2] / t[3]) - math.atan(p[2] / p[3])
            v = 4 / math.pi**2 * turn**2
            alpha = v / (1 - common / union + v + 1e-6)
            extra[2] += alpha * 8 / math.pi**2 * turn * p[3]
            extra[3] -= alpha * 8 / math.pi**2 * turn * p[2]
        result = extra if iw <= 0 or ih <= 0 else [a + b for a, b in zip(result, extra, strict=True)]
    return result


def rows_until_end(rows, limit):
    result = []
    for row in rows[:limit]:
        if row[1] == 0:
            break
        result.append([float(v) for v in row])
    return result


# --- [yolo] and [Gaussian_yolo] --------------------------------------------------------------------------------------


def yolo(head, truth, network_size, o, dialect, gaussian=False, class_map=None):
    A = dialect == "alexeyab"
    W, H = head.shape.width, head.shape.height
    NW, NH = network_size
    classes, mask, anchors = head.classes, head.mask, head.anchors.astype(float)
    total, B = int(o.get("num", 1)), 8 if gaussian else 4
    E = B + 1 + classes
    values = head.values.astype(float).reshape(len(truth), len(mask), E, H, W)
    delta = np.zeros_like(values)
    sums = Counter()
    kind = o.get("iou_loss", "mse") if A else "mse"
    smooth, eps = o.get("objectness_smooth", 0), o.get("label_smooth_eps", 0)
    obj_norm, iou_norm = o.get("obj_normalizer", 1), o.get("iou_normalizer", 0.75) if A else 1
    counters = o.get("counters_per_class")
    multipliers = [1.0] * classes
    if counters:
        counts = [max(int(c), 1) for c in counters.split(",")]
        multipliers = [min(max(counts) / c, o.get("max_delta", math.inf)) for c in counts]
    new_coords, point = o.get("new_coords", 0), o.get("yolo_point", "center")
    reference = {"center": 0.0, "left_top": -0.5, "right_bottom": 0.5}[point]
    mapped = class_map or list(range(max(classes, 1000)))

    def decode(b, n, j, i):
        v = values[b, n, :, j, i]
        x, y, w, h = v[0:8:2] if gaussian else v[:4]
        aw, ah = anchors[mask[n]]
        w, h = (4 * w * w, 4 * h * h) if new_coords else (math.exp(w), math.exp(h))
        w, h = w * aw / NW, h * ah / NH
        return (i + x) / W - reference * w, (j + y) / H - reference * h, w, h

    def limited(v):
        limit = o.get("max_delta", math.inf)
        return min(max(v if math.isfinite(v) else 0.0, -limit), limit)

    def teach_box(b, n, j, i, t, mult, step2):
        v, d = values[b, n, :, j, i], delta[b, n, :, j, i]
        p, (tx, ty, tw, th) = decode(b, n, j, i), t
        if not gaussian:
            sums["boxes"] += 1
            sums["rewritten"] += bool(d[:4].any())
        aw, ah = anchors[mask[n]]
        x, y = (tx + reference * tw) * W - i, (ty + reference * th) * H - j
        w, h = math.log(tw * NW / aw), math.log(th * NH / ah)
        if new_coords:
            w, h = math.sqrt(tw * NW / (4 * aw)), math.sqrt(th * NH / (4 * ah))
        scale, target = 2 - tw * th, [x, y, w, h]
        if kind != "mse":
            gradient = overlap_gradient(p, t, kind)
            gradient[0] += reference * gradient[2]
            gradient[1] += reference * gradient[3]
            for q in (2, 3):
                if not new_coords:
                    gradient[q] *= math.exp(v[2 * q if gaussian else q])
        for q in range(4):
            at = 2 * q if gaussian else q
            difference = target[q] - v[at]
            if gaussian:
                sigma = v[at + 1]
                z = difference / sigma
                density = math.exp(-z * z / 2) / (math.sqrt(2 * math.pi) * (sigma + 0.3))
                k = 0.5 * density / (density + 1e-9) * scale
                change = k * z / sigma if kind == "mse" else gradient[q]
                d[at] += limited(change * iou_norm * mult)
                d[at + 1] += limited(k * (z * z / sigma - 1 / (sigma + 0.3)) * o.get("uc_normalizer", 1))
            elif kind != "mse":
                d[at] += limited(gradient[q] * iou_norm * mult)
            elif A:
                d[at] += scale * difference * iou_norm * mult
            else:
                d[at] = scale * difference
        shown = overlap(p, t, "giou" if gaussian and kind != "mse" else "iou")
        if step2:
            sums["missing"] += 1 - (overlap(p, t, "giou") if kind == "giou" else overlap(p, t))
        return shown

    def teach_class(b, n, j, i, c):
        p, d = values[b, n, B + 1 :, j, i], delta[b, n, B + 1 :, j, i]
        high, low = 1 * (1 - eps) + 0.5 * eps, 0.5 * eps
        if 0 <= c < classes and d[c if A and not gaussian else 0] != 0:
            d[c] = (high - p[c]) * (multipliers[c] if counters else 1)
        elif o.get("focal_loss", 0) and not gaussian and A:
            pt = p[c] + 1e-15
            g = -(1 - pt) * (2 * pt * math.log(pt) + pt - 1)
            for k in range(classes):
                d[k] = 0.5 * g * ((k == c) - p[k])
        elif d[0] == 0 or 0 <= c < classes:
            for k in range(classes):
                d[k] = (high if k == c else low) - p[k]
                if counters and k == c:
                    d[k] *= multipliers[c] * o.get("cls_normalizer", 1)
        return p[c] if 0 <= c < classes else 0.0

    for b, rows in enumerate(truth):
        rows = rows_until_end(rows, head.pictures.max_boxes)
        if A:
            rows = [row for row in rows if 0 <= int(row[0]) < classes]
        truths = [(mapped[int(row[0])], tuple(row[1:5])) for row in rows]
        for j in range(H):
            for i in range(W):
                for n in range(len(mask)):
                    v, d, p = values[b, n, :, j, i], delta[b, n, :, j, i], decode(b, n, j, i)
                    best, best_c, best_t = 0.0, None, None
                    for c, t in truths:
                        if overlap(p, t) > best:
                            best, best_c, best_t = overlap(p, t), c, t
                    confident = (v[B + 1 :] > 0.25).any() or not A
                    match, o_ = best if confident else 0.0, v[B]
                    sums["any"] += o_
                    sums["slots"] += 1
                    d[B] = obj_norm * (0 - o_)
                    if match > o.get("ignore_thresh", 0.5):
                        if smooth and gaussian:
                            d[B] = obj_norm * (match**2 - o_)
                            teach_class(b, n, j, i, best_c)
                        elif smooth:
                            d[B] = max(d[B], obj_norm * (match - o_))
                        else:
                            d[B] = 0
                    if best > o.get("truth_thresh", 1):
                        mult = multipliers[best_c] if counters else 1.0
                        wanted = best**2 if smooth else 1
                        d[B] = obj_norm * (wanted - o_)
                        teach_class(b, n, j, i, best_c)
                        if smooth:
                            d[B + 1 + best_c] = mult * (wanted - v[B + 1 + best_c])
                        teach_box(b, n, j, i, best_t, mult, False)
        for c, t in truths:
            mult = multipliers[c] if counters else 1.0
            i = min(max(int((t[0] + reference * t[2]) * W), 0), W - 1)
            j = min(max(int((t[1] + reference * t[3]) * H), 0), H - 1)
            shifted, best, best_n = (0, 0, t[2], t[3]), 0.0, 0
            for m in range(total):
                value = overlap((0, 0, anchors[m][0] / NW, anchors[m][1] / NH), shifted)
                if value > best:
                    best, best_n = value, m
            chosen = [best_n]
            for m in range(total):
                a = (0, 0, anchors[m][0] / NW, anchors[m][1] / NH)
                also = overlap(a, shifted, o.get("iou_thresh_kind", "iou")) > o.get("iou_thresh", 1)
                if A and o.get("iou_thresh", 1) < 1 and m != best_n and also:
                    chosen.append(m)
            for m in chosen:
                if m not in mask:
                    continue
                n = mask.index(m)
                v, d = values[b, n, :, j, i], delta[b, n, :, j, i]
                shown = teach_box(b, n, j, i, t, mult, True)
                if not (smooth and not gaussian) or d[B] == 0:
                    d[B] = mult * obj_norm * (1 - v[B])
                sums["class"] += teach_class(b, n, j, i, c)
                sums["objectness"] += v[B]
                sums["count"] += 1
                sums["iou"] += shown
                sums["recalled"] += shown > 0.5
                sums["recalled75"] += shown > 0.75
        for j in range(H):
            for i in range(W):
                for n in range(len(mask)):
                    d = delta[b, n, :, j, i]
                    positive = int((d[B + 1 :] > 0).sum())
                    wanted = gaussian or (o.get("iou_thresh", 1) < 1 and A and d[B] != 0)
                    if wanted and positive:
                        d[:B] /= positive
    squares = (delta**2).sum((0, 1, 3, 4))
    cost = squares.sum()
    if A and not gaussian and kind != "mse" and o.get("show_details", 1):
        cost = obj_norm * squares[B:].sum() + iou_norm * sums["missing"] / max(sums["count"], 1)
    sums["squares"] = squares
    return delta.reshape(len(truth), -1) * o.get("delta_normalizer", 1), cost, sums


# --- [region] --------------------------------------------------------------------------------------------------------


def region(head, truth, o, dialect, seen, class_map=None):
    A = dialect == "alexeyab"
    W, H, N = head.shape.width, head.shape.height, len(head.anchors)
    C, classes, tree = head.coords, head.classes, head.tree
    E = C + 1 + classes
    if A:
        values = head.values.astype(float).reshape(len(truth), H, W, N, E).transpose(0, 3, 4, 1, 2)
    else:
        values = head.values.astype(float).reshape(len(truth), N, E, H, W)
    delta, slopes = np.zeros(values.shape), np.ones(values.shape)
    sums = Counter()
    background = o.get("background", 0) if not A else 0
    fix = o.get("classfix", 0) if A else 0

    def centre(b, n, j, i):
        x, y = values[b, n, :2, j, i]
        return (sigmoid(x), sigmoid(y)) if A else (x, y)

    def decode(b, n, j, i):
        x, y = centre(b, n, j, i)
        w, h = values[b, n, 2:4, j, i]
        aw, ah = head.anchors[n].astype(float)
        return (i + x) / W, (j + y) / H, math.exp(w) * aw / W, math.exp(h) * ah / H

    def teach_box(b, n, j, i, t, scale):
        x, y = centre(b, n, j, i)
        w, h = values[b, n, 2:4, j, i]
        aw, ah = head.anchors[n].astype(float)
        target = [t[0] * W - i, t[1] * H - j, math.log(t[2] * W / aw), math.log(t[3] * H / ah)]
        for q, (wanted, now) in enumerate(zip(target, (x, y, w, h), strict=True)):
            delta[b, n, q, j, i] = scale * (wanted - now)

    def teach_class(b, n, j, i, c, scale):
        p, d = values[b, n, C + 1 :, j, i], delta[b, n, C + 1 :, j, i]
        sums["class_count"] += 1
        if tree is not None:
            product = 1.0
            while c >= 0:
                product *= p[c]
                first, end = next(g for g in tree.groups if g[0] <= c < g[1])
                for k in range(first, end):
                    d[k] = scale * ((k == c) - p[k])
                c = int(tree.parent[c])
            sums["class"] += product
        elif not A and not head.softmax and d[0] != 0:
            d[c] = scale * (1 - p[c])
        else:
            factor = 1.0
            if A and o.get("focal_loss", 0):
                pt = p[c] + 1e-15
                factor = -0.5 * (1 - pt) * (2 * pt * math.log(pt) + pt - 1)
            for k in range(classes):
                d[k] = scale * ((k == c) - p[k]) * factor
            sums["class"] += p[c]

    def order():
        if A:
            return [(n, j, i) for j in range(H) for i in range(W) for n in range(N)]
        return [(n, j, i) for n in range(N) for j in range(H) for i in range(W)]

    for b, rows in enumerate(truth):
        rows = rows_until_end(rows, head.pictures.max_boxes)
        if A:
            rows = [row for row in rows if 0 <= int(row[0]) < classes]
        sums["slots"] += N * H * W
        for n, j, i in order():
            x, y = centre(b, n, j, i)
            objectness = values[b, n, C, j, i]
            slopes[b, n, :2, j, i] = x * (1 - x), y * (1 - y)
            slopes[b, n, C, j, i] = 1 if background else objectness * (1 - objectness)
        only = [int(row[0]) for row in rows if row[1] > 100000 and row[2] > 100000]
        if tree is not None and only:
            best, at = 0.0, order()[0]
            for n, j, i in order():
                p, c = values[b, n, C, j, i], only[0]
                while c >= 0:
                    p, c = p * values[b, n, C + 1 + c, j, i], int(tree.parent[c])
                if p > best:
                    best, at = p, (n, j, i)
                if not A:
                    delta[b, n, C, j, i] = o.get("noobject_scale", 1) * (0 - values[b, n, C, j, i])
            n, j, i = at
            delta[b, n, C, j, i] = 0
            teach_class(b, n, j, i, only[0], o.get("class_scale", 1))
            continue
        for n, j, i in order():
            objectness, p = values[b, n, C, j, i], decode(b, n, j, i)
            best, best_c = 0.0, None
            for row in rows:
                if overlap(p, row[1:5]) > best:
                    best, best_c = overlap(p, row[1:5]), int(row[0])
            sums["any"] += objectness
            wanted = best if fix == -1 else (1 if background else 0)
            delta[b, n, C, j, i] = o.get("noobject_scale", 1) * (wanted - objectness)
            if fix != -1 and best > o.get("thresh", 0.5):
                delta[b, n, C, j, i] = 0
                if fix > 0:
                    teach_class(b, n, j, i, best_c, o.get("class_scale", 1) * (objectness if fix == 2 else 1))
            if seen < 12800:
                aw, ah = head.anchors[n].astype(float)
                teach_box(b, n, j, i, ((i + 0.5) / W, (j + 0.5) / H, aw / W, ah / H), 0.01)
        for row in rows:
            c, t = int(row[0]), row[1:5]
            i, j = int(t[0] * W), int(t[1] * H)
            best, best_n = 0.0, 0
            for n in range(N):
                p = decode(b, n, j, i)
                if o.get("bias_match", 0):
                    p = (0, 0, head.anchors[n][0] / W, head.anchors[n][1] / H)
                value = overlap((0, 0, p[2], p[3]), (0, 0, t[2], t[3]))
                if value > best:
                    best, best_n = value, n
            n = best_n
            value, objectness = overlap(decode(b, n, j, i), t), values[b, n, C, j, i]
            teach_box(b, n, j, i, t, o.get("coord_scale", 1) * (1 if A else 2 - t[2] * t[3]))
            for q, wanted in enumerate(row[5:]):
                delta[b, n, 4 + q, j, i] = int(o.get("mask_scale", 1)) * (wanted - values[b, n, 4 + q, j, i])
            wanted = 0 if background else value if o.get("rescore", 0) else 1
            delta[b, n, C, j, i] = o.get("object_scale", 1) * (wanted - objectness)
            teach_class(b, n, j, i, class_map[c] if class_map else c, o.get("class_scale", 1))
            sums["count"] += 1
            sums["iou"] += value
            sums["recalled"] += value > 0.5
            sums["objectness"] += objectness
    cost = ((delta * slopes if A else delta) ** 2).sum()
    return (delta * slopes).reshape(len(truth), -1), cost, sums


# --- [detection] -----------------------------------------------------------------------------------------------------


def detection(head, truth, o, choose=None):
    """`choose(picture, cell)` takes the place of the random box."""
    S, N, C, classes = head.side, head.num, head.coords, head.classes
    values, sums = head.values.astype(float), Counter()
    delta = np.zeros_like(values)
    for b, rows in enumerate(truth):
        cells = {}
        for row in rows_until_end(rows, head.pictures.max_boxes):
            cells.setdefault((int(row[2] * S), int(row[1] * S)), row)
        for j in range(S):
            for i in range(S):
                cell = j * S + i
                for n in range(N):
                    at = S * S * classes + cell * N + n
                    delta[b, at] = o.get("noobject_scale", 1) * (0 - values[b, at])
                    sums["any"] += values[b, at]
                    sums["slots"] += 1
                if (j, i) not in cells:
                    continue
                c, x, y, w, h = cells[j, i]
                for k in range(classes):
                    p = values[b, cell * classes + k]
                    delta[b, cell * classes + k] = o.get("class_scale", 1) * ((k == int(c)) - p)
                    sums["all"] += p
                    sums["class"] += p * (k == int(c))
                best, best_iou, best_distance, ious = 0, 0.0, 20.0, []
                for n in range(N):
                    at = S * S * (classes + N) + (cell * N + n) * C
                    bx, by, bw, bh = values[b, at : at + 4]
                    bw, bh = (bw**2, bh**2) if o.get("sqrt", 0) else (bw, bh)
                    inside = ((x * S - i) / S, (y * S - j) / S, w, h)
                    found = (bx / S, by / S, bw, bh)
                    ious.append(overlap(found, inside))
                    distance = math.dist(found, inside)
                    if best_iou > 0 or ious[-1] > 0:
                        if ious[-1] > best_iou:
                            best, best_iou = n, ious[-1]
                    elif distance < best_distance:
                        best, best_distance = n, distance
                if o.get("forced", 0):
                    best = 1 if w * h < 0.1 else 0
                if choose:
                    best = choose(b, cell)
                at = S * S * classes + cell * N + best
                wanted = ious[best] if o.get("rescore", 0) else 1
                delta[b, at] = o.get("object_scale", 1) * (wanted - values[b, at])
                sums["objectness"] += values[b, at]
                sums["iou"] += ious[best]
                sums["count"] += 1
                target = [x * S - i, y * S - j, w, h]
                if o.get("sqrt", 0):
                    target[2:] = math.sqrt(w), math.sqrt(h)
                at = S * S * (classes + N) + (cell * N + best) * C
                for q in range(4):
                    delta[b, at + q] = o.get("coord_scale", 1) * (target[q] - values[b, at + q])
    return delta, (delta**2).sum(), sums
