"""A small devkit, for the tests of its readers."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.readers.devkits import thing, xml


@pytest.fixture
def devkit(tmp_path) -> Path:
    """Three images a, b, c in the list `train`, with a cat, a dog and a difficult cat."""
    root = tmp_path / "devkit"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in "abc":
        Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8)).save(root / "JPEGImages" / f"{name}.jpg")
    (root / "ImageSets/Main/train.txt").write_text("b\na\nc\n")
    (root / "Annotations/a.xml").write_text(xml(thing("cat", 1, 2, 31, 40)))
    (root / "Annotations/b.xml").write_text(
        xml(thing("dog", 2.5, 3.25, 20.75, 30, more="<part><name>head</name><bndbox><xmin>9</xmin></bndbox></part><pose/>"))
    )
    (root / "Annotations/c.xml").write_text(
        xml(
            thing("cat", 5, 5, 20, 20, more="<difficult>1</difficult><attributes><a>1</a></attributes>"),
            thing(" dog ", 1, 1, 60, 40),
        )
    )
    return root
