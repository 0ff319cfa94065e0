"""The page of what a set of labelled images confuses: the matrix, the pairs, and the images that may be mislabelled."""

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from repmet.classification.confusions import Confusions, Suspect
from repmet.classification.pictures.html_page import HtmlPage, figure
from repmet.classification.pictures.pictures import confusion_plot

PAIRS = 12  # on the page
EACH = 6  # images of a pair
SUSPECTS = 300


def write_page(out: Path, result: Confusions, lines: Sequence[str]) -> Path:
    """Writes `index.html` and `confusion.png` into a folder.

    Args:
        lines: above all else.
    """
    page = HtmlPage(out)
    confusion_plot(out / "confusion.png", result.counts, result.classes)
    drawn: dict[str, str] = {}

    def shown(name: str, thumbnail: np.ndarray, text: str) -> str:
        if name not in drawn:
            drawn[name] = page.picture(Image.fromarray(thumbnail), f"image_{len(drawn):05d}")
        return figure(drawn[name], text, name)

    def suspect(of: Suspect) -> str:
        return shown(of.name, of.thumbnail, f"{of.label} {of.probability:.2f}")

    rows = []
    for true, other, times in result.pairs[:PAIRS]:
        names = result.classes[true], result.classes[other]
        mistaken = [s for s in result.suspects if (s.label, s.looks_like) == names][:EACH]
        pictures = "".join(map(suspect, mistaken))
        said = f"<b>{html.escape(names[0])}</b> taken for <b>{html.escape(names[1])}</b>: {times}"
        rows.append(f"<tr><td>{said}</td><td>{pictures}</td></tr>")
    pairs = f"<h2>Most confused</h2><table>{''.join(rows)}</table>" if rows else ""
    rows = []
    for of in result.suspects[:SUSPECTS]:
        beside = shown(of.beside.name, of.beside.thumbnail, of.beside.label)
        likeness = f"<b>{html.escape(of.looks_like)}</b> {of.other_probability:.2f}"
        path = f"<br><small>{html.escape(of.name)}</small>"
        rows.append(f"<tr><td>{suspect(of)}{path}</td><td>{likeness}</td><td>{beside}</td></tr>")
    head = "<tr><th>image and its class</th><th>looks like</th><th>nearest image of that</th></tr>"
    more = (
        f"<p>{len(result.suspects) - SUSPECTS} more are in mislabelled.csv.</p>" if len(result.suspects) > SUSPECTS else ""
    )
    title = "<h2>Mislabelled, or hard: the least probable of their class first</h2>"
    suspects = f"{title}{more}<table>{head}{''.join(rows)}</table>" if rows else "<p>No image looks like another class.</p>"
    above = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    matrix = '<h2>What was taken for what</h2><img src="confusion.png" alt="">'
    return page.write("Confusions", f"{above}{matrix}{pairs}{suspects}")
