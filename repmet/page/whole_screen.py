"""What one browser shows of a wall of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nicegui import run, ui
from nicegui.element import Element
from nicegui.events import GenericEventArguments

from repmet.errors import UserError, one_line
from repmet.page.colours import colour, ink
from repmet.page.dialogs import NameDialog
from repmet.page.whole_session import WholeSession

HERE = Path(__file__).parent
PERIOD = 0.3  # seconds between looks at what has changed
NOT_SORTED = "Not sorted"


class Wall(Element, component="wall.js"):
    """Thumbnails in sections. Events: `assign`, `selected`, `pressed`; see wall.js."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self._props.update(names=names, sections=[])

    def show(self, sections: list[dict[str, Any]]) -> None:
        self._props["sections"] = sections
        self.update()

    def clear_selection(self) -> None:
        self.run_method("clear")


class WholeScreen:
    """The page of one browser.

    Args:
        session: shared by all of them.
    """

    def __init__(self, session: WholeSession) -> None:
        self.session = session
        self._shown = -1
        self._selected: list[int] = []

    def build(self) -> None:
        """Lays out the page for the browser that asks for it."""
        ui.add_css(HERE / "page.css")
        ui.colors(primary="#0072B2")
        dark = ui.dark_mode(None)
        self.name_dialog = NameDialog()
        with ui.element("div").classes("page whole"):
            with ui.element("header").classes("bar"):
                ui.label(f"{len(self.session.names)} images").classes("bar-title")
                self.progress = ui.label().classes("chips-word").props('data-test="progress"')
                _button("add", "New class", "Name a class; the chosen images are its first examples (C)", self._new_class)
                _button("done_all", "Right", "The chosen images are where they belong (Enter)", self._accept)
                _button("undo", "Undo", "Take the last step back (ctrl-Z)", self._undo)
                _button("download", "Export", "Write tables of the classes", self._export)
                _button("contrast", "", "Light or dark", lambda: dark.set_value(not dark.value))
            with ui.element("main").classes("middle"):
                self.wall = Wall(self.session.names)
                self.wall.on("assign", self._assigned).on("pressed", self._pressed).on("selected", self._choose)
            self.hint = ui.label().classes("whole-hint").props('data-test="hint"')
        ui.timer(PERIOD, self._catch_up)
        self._catch_up()

    def _catch_up(self) -> None:
        if self._shown == self.session.changes:
            return
        self._shown = self.session.changes
        embedded, total = self.session.progress()
        self.progress.text = "" if embedded == total else f"{embedded} of {total} looked at"
        sections = []
        classes = self.session.project.state.classes
        for number, (name, rows) in enumerate(self.session.sections()):
            look = {} if name is None else {"colour": colour(number), "ink": ink(number)}
            digit = str(number + 1) if name is not None and number < 9 else ""
            if rows or name is not None:
                title = NOT_SORTED if name is None else name
                sections.append({"name": name, "title": title, "digit": digit, "items": rows, **look})
        self.wall.show(sections)
        self.hint.text = self.session.problem or self._hint(classes)

    def _hint(self, classes: tuple[str, ...]) -> str:
        if not self.session.ready:
            return "The classifier is starting. What you sort is kept, and learnt as soon as it is there."
        if not classes:
            return (
                "Click a few images of one kind, then press C and name them. Two classes with two or three images each do."
            )
        if not self.session.project.state.by_image:
            return f"Drag a few images onto {classes[0]!r}, or click them and press 1."
        if len(classes) == 1:
            return "Show a second class: click a few images that are something else, and press C."
        return "Drag what is wrong to its class, or click it and press the class's digit. Enter: the chosen ones are right."

    # --- what keys and mouse do ------------------------------------------------------------------------------------------

    def _choose(self, event: GenericEventArguments) -> None:
        self._selected = list(event.args)

    def _assigned(self, event: GenericEventArguments) -> None:
        self._assign(event.args["numbers"], event.args["name"])

    async def _pressed(self, event: GenericEventArguments) -> None:
        key, numbers = event.args["key"], event.args["numbers"]
        self._selected = list(numbers)
        classes = self.session.project.state.classes
        if event.args["ctrl"]:
            self._undo()
        elif key.isdecimal() and int(key) <= len(classes):
            self._assign(numbers, classes[int(key) - 1])
        elif key in ("Delete", "Backspace"):
            self._assign(numbers, None)
        elif key == "Enter":
            self._accept()
        elif key in ("c", "C"):
            await self._new_class()

    def _assign(self, numbers: list[int], name: str | None) -> None:
        if numbers and self._attempt(lambda: self.session.assign(numbers, name)):
            self._done()

    def _accept(self) -> None:
        if self._selected and self._attempt(lambda: self.session.accept(self._selected)):
            self._done()

    def _done(self) -> None:
        self._selected = []
        self.wall.clear_selection()
        self._catch_up()

    async def _new_class(self) -> None:
        numbers = list(self._selected)
        name = await self.name_dialog.ask("What is on these images?" if numbers else "The new class is called", [])
        if name is not None and self._attempt(lambda: self.session.assign(numbers, name)):
            self._done()

    def _undo(self) -> None:
        if not self.session.undo():
            ui.notify("There is nothing to take back.")
        self._catch_up()

    async def _export(self) -> None:
        try:
            ui.notify(f"written: {await run.io_bound(self.session.export)}")
        except (UserError, OSError) as error:
            ui.notify(one_line(error), type="negative")

    def _attempt(self, step: Callable[[], Any]) -> bool:
        """Does what was asked, or says why not."""
        try:
            step()
        except (UserError, OSError) as error:
            ui.notify(one_line(error), type="negative", position="bottom")
            return False
        return True


def _button(icon: str, text: str, tip: str, does: Callable[[], Any]) -> None:
    with ui.button(text, icon=icon, on_click=does).props(f'flat dense no-caps aria-label="{text or tip}"'):
        ui.tooltip(tip).props("delay=600")
