"""The two parts of the screen that are programs in the browser: the stage with the image, and the strip of thumbnails.

NiceGUI's `interactive_image` sends every movement of the mouse to the server, has no zoom and knows no fingers: a rubber
band would lag while images are looked at. The stage draws, drags and zooms by itself and sends what was done. A strip
of thousands of NiceGUI images would be thousands of elements on both sides; this one has as many as are seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nicegui.element import Element


class Stage(Element, component="stage.js"):
    """An image with boxes. Events: `began`, `drawn`, `tapped`, `corrected`, `pressed`; see stage.js."""

    def show(self, **props: Any) -> None:
        """Sets what has changed: `src`, `width`, `height`, `boxes`, `selected`, `colour`, `note`, `hint`, `ahead`."""
        if any(self._props.get(name) != value for name, value in props.items()):
            self._props.update(props)
            self.update()

    def clear_rubber(self) -> None:
        """Takes the drawn box away that was not kept."""
        self.run_method("clear")


class Strip(Element, component="strip.js"):
    """Thumbnails. Event: `chosen` with an image's number."""

    def __init__(self, items: Sequence[Sequence[Any]], order: Sequence[int], current: int) -> None:
        super().__init__()
        self._props.update(items=[list(item) for item in items], order=list(order), current=current)

    def patch(self, changes: Sequence[tuple[int, Sequence[Any]]]) -> None:
        """Shows images otherwise: their numbers and items."""
        self.run_method("patch", [[number, list(item)] for number, item in changes])

    def go(self, number: int) -> None:
        self.run_method("go", number)

    def reorder(self, order: Sequence[int]) -> None:
        self.run_method("reorder", list(order))
