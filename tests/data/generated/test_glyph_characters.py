"""Generated characters as a labelled set: classes of a split do not depend on how many are asked for."""

import numpy as np
import pytest
import torch

from repmet.data.generated import glyph_characters
from repmet.data.generated.glyphs import draw, stroke_programme


def test_classes_are_the_same_however_many_are_asked_for():
    five, three = (glyph_characters.read(None, "val", characters=n, per_class=4, size=16, seed=2) for n in (5, 3))
    assert five.images.shape == (20, 1, 16, 16) and five.counts.tolist() == [4] * 5
    assert three.classes == five.classes[:3] == ("glyph100000", "glyph100001", "glyph100002")
    assert torch.equal(three.images, five.images[:12])
    drawn = draw(stroke_programme(100_002, seed=2), 16, np.random.default_rng((2, 2, 100_002, 1)))
    assert drawn.tolist() == three.images[9, 0].tolist()


def test_splits_share_no_class():
    names = [glyph_characters.read(None, split, characters=3, per_class=1).classes for split in ("train", "val", "test")]
    assert len({name for classes in names for name in classes}) == 9
    with pytest.raises(ValueError, match="no split 'all'"):
        glyph_characters.read(None, "all")
    for characters in (0, 100_001):
        with pytest.raises(ValueError, match=f"1 to 100000 characters, not {characters}"):
            glyph_characters.read(None, "train", characters=characters)
