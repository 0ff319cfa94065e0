"""Whole images of one colour each, and a classifier that tells them apart by it: quick, and without weights.

Run as a program it serves a wall: `python coloured_images.py FOLDER PROJECT`.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = ((200, 40, 40), (40, 80, 200), (40, 150, 70))


def lay_out(folder: Path, count: int = 12) -> Path:
    """Images of three colours in turn, the further on the greyer."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        share = 0.5 * n / max(count - 1, 1)
        pixels = np.array(COLOURS[n % 3]) * (1 - share) + 128 * share
        Image.new("RGB", (80, 60), tuple(pixels.astype(int).tolist())).save(folder / f"image_{n:04d}.png")
    return folder


class ColourClassifier:
    """Embeds an image as its mean colour; a class is the mean of its images."""

    def __init__(self) -> None:
        self.embedded: list[str] = []

    def embed(self, images):
        self.embedded += images
        return np.stack([np.asarray(Image.open(path).convert("RGB"), float).mean((0, 1)) / 255 for path in images])

    def posterior(self, embeddings, labels):
        classes = tuple(sorted({name for name in labels if name is not None}))
        means = [np.mean([e for e, name in zip(embeddings, labels, strict=True) if name == c], axis=0) for c in classes]
        d2 = ((embeddings[:, None] - np.stack(means)[None]) ** 2).sum(-1)
        shares = np.exp(-20 * d2)
        return classes, shares / shares.sum(1, keepdims=True)


def main(folder: str, project: str) -> None:
    from repmet.page.gallery import Gallery
    from repmet.page.server import bound, serve, whole_layout
    from repmet.page.whole_labels import WholeProject
    from repmet.page.whole_session import WholeSession

    session = WholeSession(Gallery([folder], Path(project)), WholeProject(project), ColourClassifier)
    try:
        serve(session, bound("127.0.0.1", 0), host="127.0.0.1", browser=False, layout=whole_layout)
    finally:
        session.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
