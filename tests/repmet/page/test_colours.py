"""Colours of classes: apart for people with any colour vision, legible with what is written on them."""

import itertools

import numpy as np

from repmet.page.colours import colour, ink

# Machado, Oliveira and Fernandes (2009), severity 1: protanopia, deuteranopia, tritanopia; on linear RGB.
VISIONS = [
    np.eye(3),
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
]


def linear(text):
    value = np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ np.clip(rgb, 0, 1)
    f = np.cbrt(xyz / [0.9505, 1, 1.089])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_six_colours_are_apart_in_every_vision():
    for vision in VISIONS:
        seen = [lab(np.asarray(vision) @ linear(colour(n))) for n in range(6)]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 10
    assert colour(6) == colour(0)


def test_what_is_written_on_them_is_legible():
    for n in range(6):
        ground, letters = (
            float(linear(c if len(c) == 7 else "#" + c[1] * 6) @ [0.2126, 0.7152, 0.0722]) for c in (colour(n), ink(n))
        )
        assert (max(ground, letters) + 0.05) / (min(ground, letters) + 0.05) > 4.5
