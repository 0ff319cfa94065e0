"""The classes: colour, digit, counts, threshold and what to expect of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from nicegui import ui
from nicegui.events import ValueChangeEventArguments

from repmet.page.colours import colour, ink
from repmet.page.finds import Estimate
from repmet.page.session import Session

Attempt = Callable[[Callable[[], Any]], bool]


class ClassPanel:
    """The right side of the screen; made where it is created.

    Args:
        session: whose classes these are.
        choose: is called with the class that somebody clicked.
        new: asks for a new class.
        attempt: does something, or says why not.
    """

    def __init__(self, session: Session, choose: Callable[[str], None], new: Callable[[], Any], attempt: Attempt) -> None:
        self.session, self.choose, self.attempt = session, choose, attempt
        self._rows: dict[str, _Row] = {}
        with ui.element("div").classes("panel-head"):
            ui.label("Classes").classes("panel-title")
            ui.button(icon="add", on_click=new).props('flat dense round size="sm" aria-label="New class"').tooltip(
                "New class (C)"
            )
        self._empty = ui.label(
            "None yet. Draw a box around one thing in the image and give it a name: that is a class. One box is enough."
        ).classes("panel-empty")
        self._list = ui.element("div").classes("panel-list")
        self._note = ui.label(
            "Precision and recall are estimated from the detector's scores and your decisions. "
            "Objects that it never proposes are not counted."
        ).classes("panel-note")

    def show(self, active: str | None) -> None:
        """The classes as they are now, with the one that is drawn."""
        classes = self.session.state.classes
        if tuple(self._rows) != classes:
            self._list.clear()
            self._rows = {}
            with self._list:
                for number, name in enumerate(classes):
                    self._rows[name] = _Row(self, number, name)
            self.show_counts()
        self._empty.set_visibility(not classes)
        self._note.set_visibility(bool(classes))
        for name, row in self._rows.items():
            row.show(name == active)

    def show_counts(self) -> None:
        """How many there are of each class, and what to expect."""
        for name, expected in self.session.estimates().items():
            if name in self._rows:
                self._rows[name].show_counts(expected)


class _Row:
    def __init__(self, panel: ClassPanel, number: int, name: str) -> None:
        self.session, self.name, self._attempt = panel.session, name, panel.attempt
        self.card = ui.element("div").classes("class-row").props(f'data-test="class" data-name="{_attribute(name)}"')
        with self.card:
            with ui.element("div").classes("class-head"):
                badge = ui.button(str(number + 1), on_click=partial(panel.choose, name)).props("unelevated dense")
                badge.classes("class-badge").style(
                    f"background: {colour(number)} !important; color: {ink(number)} !important"
                )
                badge.tooltip(f"Draw this class ({number + 1})" if number < 9 else "Draw this class")
                ui.label(name).classes("class-name").on("click", partial(panel.choose, name)).tooltip(name)
                with ui.button(icon="more_vert").props('flat dense round size="sm" aria-label="More"'), ui.menu():
                    ui.menu_item("Rename…", self._rename)
                    ui.menu_item("Automatic threshold", lambda: self._move(None))
                    ui.menu_item("Delete with its boxes", self._remove)
            self.counts = ui.label().classes("class-counts").props('data-test="counts"')
            with ui.element("div").classes("class-slider"):
                self.slider = ui.slider(min=0.05, max=1, step=0.01, value=1, on_change=self._moved)
                self.slider.props('dense aria-label="threshold"').style(f"--q-primary: {colour(number)}")
                self.value = ui.label().classes("class-value")
            self.expected = ui.label().classes("class-expected").props('data-test="estimate"')
        self._shown: float | None = None  # what the slider was put to, not by a hand

    def show(self, active: bool) -> None:
        self.card.classes(add="class-active" if active else "", remove="" if active else "class-active")
        threshold = round(self.session.threshold(self.name), 2)
        if self._shown != threshold:
            self._shown = threshold
            self.slider.value = threshold
        moved = self.name in self.session.state.thresholds
        self.value.text = f"from {threshold * 100:.0f}%" + ("" if moved else " auto")

    def show_counts(self, expected: Estimate) -> None:
        rejected = len(self.session.state.of_class(self.name, "rejected"))
        parts = [f"✓ {expected.accepted}", f"{expected.above} found", *([f"✕ {rejected}"] if rejected else [])]
        self.counts.text = "   ".join(parts)
        if expected.above and expected.precision is not None and expected.recall is not None:
            self.expected.text = f"precision ~{expected.precision * 100:.0f}%, recall ~{expected.recall * 100:.0f}%"
        else:
            self.expected.text = ""

    def _moved(self, event: ValueChangeEventArguments[float | None]) -> None:
        if event.value is not None and round(event.value, 2) != self._shown:
            self._shown = round(event.value, 2)
            self._move(self._shown)

    def _move(self, value: float | None) -> None:
        self._attempt(lambda: self.session.set_threshold(self.name, value))

    def _rename(self) -> None:
        with ui.dialog() as dialog, ui.card():
            entry = ui.input("New name", value=self.name).props("autofocus outlined")

            def done() -> None:
                dialog.close()
                self._attempt(lambda: self.session.rename_class(self.name, entry.value))

            entry.on("keydown.enter", done)
            ui.button("Rename", on_click=done)
        dialog.open()

    def _remove(self) -> None:
        self._attempt(lambda: self.session.remove_class(self.name))
        ui.notify(f"{self.name!r} and its boxes are gone; ctrl-Z brings them back.")


def _attribute(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', "&quot;")
