"""What one browser shows of a session. Thin: the session decides, the parts draw."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from nicegui import ui

from repmet.errors import UserError, one_line
from repmet.page.class_panel import ClassPanel
from repmet.page.colours import colour, ink
from repmet.page.dialogs import ExportDialog, HelpDialog, NameDialog
from repmet.page.hands import Hands
from repmet.page.parts import Stage, Strip
from repmet.page.session import Session
from repmet.page.support_view import SupportView
from repmet.page.view import Shown

HERE = Path(__file__).parent
PERIOD = 0.4  # seconds between looks at what the finder has done meanwhile


class Screen(Hands):
    """The page of one browser.

    Args:
        session: shared by all of them.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.number = session.current
        self.selected: str | None = None
        self.active: str | None = next(iter(session.state.classes), None)
        self._stale: set[int] = set()  # images whose thumbnails' counts may have changed
        self._all_stale = False
        self._known: dict[int, tuple[Any, ...]] = {}  # what the strip shows

    # --- layout ----------------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Lays out the page for the browser that asks for it."""
        self.client, self._loop = ui.context.client, asyncio.get_running_loop()
        ui.add_css(HERE / "page.css")
        ui.colors(primary="#0072B2")
        self.dark = ui.dark_mode(None)
        self.name_dialog, self.export_dialog, self.help = NameDialog(), ExportDialog(self.session), HelpDialog()
        with ui.element("div").classes("page"):
            with ui.element("header").classes("bar"):
                self.title = ui.label().classes("bar-title").props('data-test="title"')
                ui.space()
                _button("undo", "Undo", "Take the last step back (ctrl-Z)", self._undo)
                _button("skip_next", "Next", "Go to the image that is worth most to look at (N)", self._next)
                self.view_button = _button(
                    "collections", "Examples", "Look through what was accepted and rejected (E)", self._toggle
                )
                _button("download", "Export", "Hand the boxes to other tools", self.export_dialog.open)
                _button("contrast", "", "Light or dark", self._shade)
                _button("help_outline", "", "Keys and mouse (?)", self.help.open)
            with ui.element("aside").classes("left"):
                names, order = self.session.names, self.session.order()
                self.places = order
                self.strip = Strip([self._item(n) for n in range(len(names))], order, self.number)
                self.strip.on("chosen", lambda e: self.go(int(e.args)))
                orders = {False: "By name", True: "By promise"}
                self.by_promise = ui.toggle(orders, value=False, on_change=self._reorder).props("dense no-caps unelevated")
                self.by_promise.classes("strip-order").props('data-test="order"')
                with ui.element("div").classes("progress").props('data-test="progress"'):
                    self.bar = ui.linear_progress(0, show_value=False, size="4px")
                    self.bar_text = ui.label()
            with ui.element("main").classes("middle"):
                self.stage = Stage()
                self.stage.on("drawn", self._drawn).on("tapped", self._tapped)
                self.stage.on("began", self.session.finder.hold, [])
                self.stage.on("corrected", self._corrected).on("pressed", self._pressed)
                self.chips = ui.element("div").classes("chips").props('data-test="chips"')
                self.supports = SupportView(self.session, self._attempt)
            with ui.element("aside").classes("right"):
                self.panel = ClassPanel(self.session, self._choose, self._new_class, self._attempt)
        self.session.listeners.append(self._heard)
        self.client.on_delete(lambda: self.session.listeners.remove(self._heard))
        ui.timer(PERIOD, self._catch_up)
        self.go(self.number, first=True)

    def _item(self, number: int) -> tuple[str, int, int, bool, str]:
        session, name = self.session, self.session.names[number]
        accepted = sum(mark.verdict == "accepted" for mark in session.state.of_image(name))
        open_finds = sum(find.score >= session.threshold(find.name) for find in session.finds(number))
        return name, accepted, open_finds, name in session.project.seen, session.finder.unreadable.get(number, "")

    def _reorder(self) -> None:
        """The strip in the order that was chosen, as it is now: it does not move by itself under somebody's hand."""
        self.places = self.session.order(promising=bool(self.by_promise.value))
        self.strip.reorder(self.places)

    # --- what is shown ---------------------------------------------------------------------------------------------------

    def go(self, number: int, *, first: bool = False) -> None:
        """Brings an image on the screen."""
        if number != self.number:
            self.session.leave(self.number)
        self.number, self.selected = number, None
        self.session.visit(number)
        if not first:
            self.strip.go(number)
        try:
            (width, height), note = self.session.size(number), ""
        except UserError as error:
            width, height, note = 1, 1, one_line(error)
        src = "" if note else f"/image/{number}"
        ahead = [f"/image/{number + 1}"] if number + 1 < len(self.session.names) else []
        self.stage.show(src=src, width=width, height=height, note=note, ahead=ahead)
        self.title.text = f"{self.session.names[number]} · {number + 1} of {len(self.session.names)}"
        self.refresh()

    def refresh(self) -> None:
        """Shows the boxes of the image anew."""
        classes = self.session.state.classes
        shown = self.session.shown(self.number)
        if self.selected is not None and self.selected not in {box.key for box in shown}:
            self.selected = None
        if self.active not in classes:
            self.active = classes[0] if classes else None
        boxes = [self._box(box, classes) for box in shown if box.name in classes]
        active_colour = colour(classes.index(self.active)) if self.active in classes else colour(0)
        self.stage.show(boxes=boxes, selected=self.selected, colour=active_colour, hint=self._hint(shown))
        self.panel.show(self.active)
        self._show_chips(shown)

    def _box(self, box: Shown, classes: tuple[str, ...]) -> dict[str, Any]:
        number = classes.index(box.name)
        look = {"digit": str(number + 1) if number < 9 else "", "colour": colour(number), "ink": ink(number)}
        return {"key": box.key, "box": box.box, "name": box.name, "verdict": box.verdict, "score": box.score or 0.0, **look}

    def _hint(self, shown: list[Shown]) -> str:
        session = self.session
        if session.finder.problem:
            return session.finder.problem
        if not session.state.classes:
            return "Draw a box around one thing that you look for, then name it: the others are found."
        if not session.finder.ready:
            return "The detector is starting. What you draw is kept, and learnt as soon as it is there."
        if session.finder.has_learnt() and not session.finder.fresh(self.number):
            return "Looking…"
        if any(box.verdict is None for box in shown):
            return ""
        if not any(mark.verdict == "accepted" for mark in session.state.marks) and not session.finder.known:
            return "Draw a box around one thing that you look for."
        return "Nothing else is found here. Draw what was missed, or press N for the image that is worth most to look at."

    def _show_chips(self, shown: list[Shown]) -> None:
        """Of the selected box: which class it is, and which it could be."""
        chosen = next((box for box in shown if box.key == self.selected), None)
        self.chips.clear()
        self.chips.set_visibility(chosen is not None)
        if chosen is None:
            return
        classes = self.session.state.classes
        with self.chips:
            ui.label("this box:" if chosen.verdict else "found:").classes("chips-word")
            for number, name in enumerate(classes[:9]):
                chip = ui.button(f"{number + 1} {name}", on_click=partial(self._name_selected, name)).props(
                    "no-caps dense unelevated"
                )
                if name == chosen.name:
                    chip.style(f"background: {colour(number)} !important; color: {ink(number)} !important")
                else:
                    chip.props("flat")
            ui.button("N new…", on_click=self._new_class).props("no-caps dense flat")
            if chosen.verdict != "accepted":
                ui.button("✓ accept", on_click=self._enter).props("no-caps dense flat")
            ui.button("✕ " + ("take away" if chosen.source == "drawn" else "reject"), on_click=self._delete).props(
                "no-caps dense flat"
            )

    # --- what happens meanwhile ------------------------------------------------------------------------------------------

    def _heard(self, what: str, number: int | None) -> None:
        """From any thread."""
        self._loop.call_soon_threadsafe(self._happened, what, number)

    def _happened(self, what: str, number: int | None) -> None:
        if number is None:
            self._all_stale = True
        else:
            self._stale.add(number)
        if number in (None, self.number):
            self.refresh()
        if what in ("marks", "ready"):
            self.supports.refresh()

    def _catch_up(self) -> None:
        """The thumbnails' counts, the progress and the estimates, a few times a second."""
        if self._stale or self._all_stale:
            numbers = range(len(self.session.names)) if self._all_stale else sorted(self._stale)
            self._stale, self._all_stale = set(), False
            items = [(number, self._item(number)) for number in numbers]
            changed = [(number, item) for number, item in items if self._known.get(number) != item]
            self._known.update(changed)
            if changed:
                self.strip.patch(changed)
            self.panel.show_counts()
        progress, total = self.session.finder.progress(), max(self.session.finder.progress().total, 1)
        left = progress.total - progress.embedded
        if not self.session.finder.ready:
            text = self.session.finder.problem or "the detector is starting"
        elif left:
            text = f"{progress.embedded} of {total} images looked at" + _eta(progress.seconds)
        else:
            text = (
                f"all {total} images looked at"
                if progress.looked in (0, total)
                else f"{progress.looked} of {total} up to date"
            )
        if unreadable := len(self.session.finder.unreadable):
            text += f"; {unreadable} cannot be read"
        self.bar.value = progress.embedded / total
        self.bar_text.text = text


def _button(icon: str, text: str, tip: str, does: Callable[[], Any]) -> ui.button:
    button = ui.button(text, icon=icon, on_click=does).props(f'flat dense no-caps aria-label="{text or tip}"')
    with button:
        ui.tooltip(tip).props("delay=600")
    return button


def _eta(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f", {math.ceil(seconds / 60)} min left" if seconds >= 90 else f", {math.ceil(seconds)} s left"
