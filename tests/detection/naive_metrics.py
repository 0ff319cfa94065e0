"""The episodic protocol written out in plain loops: the oracle of the metric tests."""

import numpy as np


def iou(a, b, plus_one):
    pixel = 1.0 if plus_one else 0.0
    width = min(a[2], b[2]) - max(a[0], b[0]) + pixel
    height = min(a[3], b[3]) - max(a[1], b[1]) + pixel
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    area = [(x2 - x1 + pixel) * (y2 - y1 + pixel) for x1, y1, x2, y2 in (a, b)]
    return shared / (area[0] + area[1] - shared)


def voc_ap(listed, n):
    """All-point AP of a list of (score, is_right); equal scores enter together."""
    points = []
    for threshold in sorted({score for score, _ in listed}, reverse=True):
        tp = sum(right for score, right in listed if score >= threshold)
        points.append((tp / n, tp / sum(score >= threshold for score, _ in listed)))
    ap, before = 0.0, 0.0
    for i, (recall, _) in enumerate(points):
        ap += (recall - before) * max(precision for _, precision in points[i:])
        before = recall
    return ap


def voc_ap_11(listed, n):
    points = []
    for threshold in {score for score, _ in listed}:
        tp = sum(right for score, right in listed if score >= threshold)
        points.append((tp / n, tp / sum(score >= threshold for score, _ in listed)))
    return np.mean([max([p for r, p in points if r >= level / 10 - 1e-12], default=0.0) for level in range(11)])


def repmet_list(detections, truth, threshold, plus_one):
    """(score, is_right) of the released benchmark: image by image, class by class. Rows as in episodic_metrics."""
    listed, n_truth, wrong, background = [], 0, 0, 0
    classes = sorted({row[2] for row in truth} | {row[2] for row in detections})
    for slot in sorted({tuple(row[:2]) for row in truth}):
        boxes = [row for row in truth if tuple(row[:2]) == slot]
        for c in classes:
            of_class = [row for row in detections if tuple(row[:2]) == slot and row[2] == c and row[3] > 0]
            objects = [box for box in boxes if box[2] == c]
            n_truth += sum(not box[7] for box in objects)

            def hits(row, box):
                return iou(row[4:8], box[3:7], plus_one) >= threshold

            for box in objects:
                if not box[7] and (scores := [row[3] for row in of_class if hits(row, box)]):
                    listed.append((max(scores), True))
            stray = [row for row in of_class if not any(hits(row, box) for box in objects)]
            for box in boxes:
                if box[2] != c and not box[7] and (scores := [row[3] for row in stray if hits(row, box)]):
                    listed.append((max(scores), False))
                    wrong += 1
            for row in of_class:
                if not any(hits(row, box) for box in boxes):
                    listed.append((row[3], False))
                    background += 1
    return listed, n_truth, wrong, background


def greedy_list(detections, truth, threshold, plus_one):
    """(class, score, is_right) of Pascal VOC's matching, and the boxes to be found by class."""
    listed, taken = [], set()
    for row in sorted((row for row in detections if row[3] > 0), key=lambda row: -row[3]):
        best, best_box = -1.0, None
        for box in sorted(truth, key=lambda box: (box[7], *box[3:7])):
            if tuple(box[:3]) == tuple(row[:3]) and iou(row[4:8], box[3:7], plus_one) > best:
                best, best_box = iou(row[4:8], box[3:7], plus_one), box
        if best < threshold:
            listed.append((row[2], row[3], False))
        elif not best_box[7]:
            key = tuple(best_box)
            listed.append((row[2], row[3], key not in taken))
            taken.add(key)
    n = {}
    for box in truth:
        n[box[2]] = n.get(box[2], 0) + (not box[7])
    return listed, {label: count for label, count in n.items() if count}


def episodic_metrics(detections, truth, threshold=0.5, plus_one=True):
    """`truth` has the column difficult; scores should be representable in float32."""
    detections, truth = [tuple(map(float, row)) for row in detections], [tuple(map(float, row)) for row in truth]
    repmet, n, wrong, background = repmet_list(detections, truth, threshold, plus_one)
    greedy, n_of = greedy_list(detections, truth, threshold, plus_one)
    episodes = []
    for episode in sorted({row[0] for row in truth}):
        here, n_here = greedy_list(
            [row for row in detections if row[0] == episode],
            [row for row in truth if row[0] == episode],
            threshold,
            plus_one,
        )
        if n_here:
            episodes.append(np.mean([voc_ap([(s, r) for c, s, r in here if c == label], k) for label, k in n_here.items()]))
    return {
        "repmet_pooled": voc_ap(repmet, n),
        "pooled_ap": voc_ap([(score, right) for _, score, right in greedy], n),
        "class_map": np.mean([voc_ap([(s, r) for c, s, r in greedy if c == label], k) for label, k in n_of.items()]),
        "episode_map": np.mean(episodes),
        "recall": sum(right for _, right in repmet) / n,
        "counts": {
            "n_detections": sum(row[3] > 0 for row in detections),
            "n_ground_truth": n,
            "tp": sum(right for _, right in repmet),
            "fp_wrong": wrong,
            "fp_background": background,
        },
    }
