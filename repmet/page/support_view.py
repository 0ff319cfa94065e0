"""The examples: crops of what was accepted and rejected, class by class; what looks wrong there makes every find worse."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from nicegui import ui

from repmet.page.colours import colour, ink
from repmet.page.marks import Mark
from repmet.page.session import Session

AT_ONCE = 60  # crops of a class that are shown at first


class SupportView:
    """A wall of crops that takes the place of the image; made where it is created.

    Args:
        session: whose marks these are.
        attempt: does something, or says why not.
    """

    def __init__(self, session: Session, attempt: Callable[[Callable[[], Any]], bool]) -> None:
        self.session, self._attempt = session, attempt
        self.visible = False
        self._more: dict[str, int] = {}
        self._root = ui.element("div").classes("supports").props('data-test="supports"')
        self._root.set_visibility(False)

    def toggle(self) -> None:
        self.visible = not self.visible
        self._root.set_visibility(self.visible)
        self.refresh()

    def refresh(self) -> None:
        """Shows the marks as they are now."""
        if not self.visible:
            return
        state = self.session.state
        self._root.clear()
        with self._root:
            if not state.marks:
                ui.label("No examples yet: go back to the images (E) and draw a box around one thing.").classes(
                    "supports-empty"
                )
            for number, name in enumerate(state.classes):
                accepted, rejected = state.of_class(name), state.of_class(name, "rejected")
                if not accepted and not rejected:
                    continue
                with ui.element("div").classes("supports-head"):
                    ui.label(str(number + 1)).classes("supports-digit").style(
                        f"background: {colour(number)}; color: {ink(number)}"
                    )
                    ui.label(f"{name}: {len(accepted)} accepted").classes("panel-title")
                self._crops(name, accepted)
                if rejected:
                    ui.label(f"rejected, not {name}: {len(rejected)}").classes("supports-word")
                    self._crops(f"{name}\0rejected", rejected)

    def _crops(self, key: str, marks: list[Mark]) -> None:
        limit = self._more.get(key, AT_ONCE)
        odd = {mark.number: why for mark in marks if mark.verdict == "accepted" and (why := self.session.odd(mark))}
        marks = sorted(marks, key=lambda mark: (mark.number not in odd, mark.number))
        with ui.element("div").classes("supports-wall"):
            for mark in marks[:limit]:
                self._crop(mark, odd.get(mark.number))
        if len(marks) > limit:
            ui.button(f"{len(marks) - limit} more", on_click=partial(self._show_more, key, limit)).props(
                "flat no-caps dense"
            )

    def _crop(self, mark: Mark, why: str | None) -> None:
        kind = " crop-odd" if why else " crop-rejected" if mark.verdict == "rejected" else ""
        with ui.element("div").classes("crop" + kind).props(f'data-test="crop" data-mark="{mark.number}"'):
            sides = "_".join(f"{side:.0f}" for side in mark.box)  # another box is another picture
            ui.element("img").props(f'src="/crop/{mark.number}?{sides}" loading="lazy" alt="" draggable="false"')
            ui.label(why or "").classes("crop-why")
            with ui.element("div").classes("crop-tools"):
                ui.button(icon="delete", on_click=partial(self._delete, mark)).props(
                    'flat dense round size="sm" aria-label="Delete"'
                ).tooltip("Take it away")
                with ui.button(icon="drive_file_move").props('flat dense round size="sm" aria-label="Move"'), ui.menu():
                    ui.label("Move to").classes("supports-word")
                    for name in self.session.state.classes:
                        if name != mark.name:
                            ui.menu_item(name, partial(self._move, mark, name))

    def _delete(self, mark: Mark) -> None:
        self._attempt(lambda: self.session.delete(mark.number))

    def _move(self, mark: Mark, name: str) -> None:
        self._attempt(lambda: self.session.move(mark.number, name))

    def _show_more(self, key: str, limit: int) -> None:
        self._more[key] = limit + 4 * AT_ONCE
        self.refresh()
