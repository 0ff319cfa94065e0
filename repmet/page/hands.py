"""What keys and mouse do on the page of one browser."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from nicegui import Client, ui
from nicegui.events import GenericEventArguments

from repmet.errors import UserError, one_line
from repmet.page.dialogs import HelpDialog, NameDialog
from repmet.page.parts import Stage
from repmet.page.session import Session
from repmet.page.support_view import SupportView
from repmet.page.view import Shown


class Hands(ABC):
    """The part of a `Screen` that hears a person."""

    session: Session
    client: Client
    number: int
    places: list[int]  # the images as the strip shows them
    selected: str | None
    active: str | None
    stage: Stage
    supports: SupportView
    name_dialog: NameDialog
    help: HelpDialog
    view_button: ui.button
    dark: ui.dark_mode

    @abstractmethod
    def go(self, number: int) -> None:
        """Brings an image on the screen."""

    @abstractmethod
    def refresh(self) -> None:
        """Shows the boxes of the image anew."""

    async def _drawn(self, event: GenericEventArguments) -> None:
        box = tuple(float(side) for side in event.args)
        name = self.active or await self.name_dialog.ask("What is in the box?", list(self.session.state.classes))
        if name is None or not self._attempt(lambda: self._select(self.session.draw(self.number, box, name).number)):
            self.stage.clear_rubber()

    def _select(self, mark: int) -> None:
        self.selected, self.active = f"m{mark}", self.session.state.mark(mark).name

    def _tapped(self, event: GenericEventArguments) -> None:
        key = event.args["key"]
        if key is None:
            self.selected = None
            return self.refresh()
        before = {mark.number for mark in self.session.state.marks}
        self._attempt(lambda: self.session.click(self.number, key))
        new = [mark.number for mark in self.session.state.marks if mark.number not in before]
        self.selected = f"m{new[0]}" if new else key
        self.refresh()

    def _corrected(self, event: GenericEventArguments) -> None:
        key, box = event.args["key"], tuple(float(side) for side in event.args["box"])
        self._attempt(lambda: self.session.correct(self.number, key, box))
        if key.startswith("f"):
            self.selected = f"m{self.session.state.marks[-1].number}"
        self.refresh()

    async def _pressed(self, event: GenericEventArguments) -> None:
        key, ctrl, shift = event.args["key"], event.args["ctrl"], event.args["shift"]
        if self.supports.visible and key not in ("e", "E", "Escape", "?") and not ctrl:
            return
        steps: dict[str, Callable[[], Any]] = {
            "ArrowRight": lambda: self._step(1), "ArrowDown": lambda: self._step(1),
            "ArrowLeft": lambda: self._step(-1), "ArrowUp": lambda: self._step(-1),
            "Enter": self._enter, "Delete": self._delete, "Backspace": self._delete,
            "Tab": lambda: self._cycle(-1 if shift else 1), "Escape": self._escape,
            "n": self._next, "e": self._toggle, "?": self.help.open, "c": self._new_class,
        }  # fmt: skip
        if ctrl and key.lower() == "z":
            self._undo()
        elif key.isdecimal() and len(key) == 1 and 1 <= int(key) <= len(self.session.state.classes):
            self._name_selected(self.session.state.classes[int(key) - 1])
        elif step := steps.get(key.lower() if len(key) == 1 else key):
            answer = step()
            if asyncio.iscoroutine(answer):
                await answer

    def _step(self, by: int) -> None:
        place = self.places.index(self.number) + by
        if 0 <= place < len(self.places):
            self.go(self.places[place])

    def _next(self) -> None:
        number = self.session.next_worth(self.number)
        if number is None:
            ui.notify("You have gone through all images, and nothing that is found is undecided.")
        else:
            self.go(number)

    def _finds(self) -> list[str]:
        return [box.key for box in self.session.shown(self.number) if box.verdict is None]

    def _enter(self) -> None:
        """Accepts the selected find, or the best one, and goes on to the next; a selected mark is kept as it is."""
        chosen = self._chosen()
        if chosen is not None and chosen.verdict == "accepted":
            self.selected = None
        elif key := (self.selected or next(iter(self._finds()), None)):
            self._attempt(lambda: self.session.accept(self.number, key))
            self.selected = next(iter(self._finds()), None)
        self.refresh()

    def _delete(self) -> None:
        if self.selected is not None:
            key, chosen = self.selected, self._chosen()
            if chosen is not None and chosen.verdict == "rejected":
                self._attempt(lambda: self.session.forget(self.number, key))
            else:
                self._attempt(lambda: self.session.reject(self.number, key))
            self.selected = next(iter(self._finds()), None) if key.startswith("f") else None
            self.refresh()

    def _chosen(self) -> Shown | None:
        return next((box for box in self.session.shown(self.number) if box.key == self.selected), None)

    def _cycle(self, by: int) -> None:
        keys = self._finds()
        if keys:
            place = keys.index(self.selected) + by if self.selected in keys else (0 if by > 0 else -1)
            self.selected = keys[place % len(keys)]
            self.refresh()

    def _escape(self) -> None:
        if self.supports.visible:
            return self._toggle()
        self.selected = None
        self.refresh()

    def _undo(self) -> None:
        def step() -> None:
            if not self.session.undo():
                ui.notify("There is nothing to take back.")

        self._attempt(step)

    def _choose(self, name: str) -> None:
        """The class that is drawn from now on."""
        self.active = name
        self.refresh()

    def _name_selected(self, name: str) -> None:
        if self.selected is not None and self.selected.startswith("m"):
            key = self.selected
            self._attempt(lambda: self.session.name(self.number, key, name))
        self._choose(name)

    async def _new_class(self) -> None:
        name = await self.name_dialog.ask("The new class is called", [])
        if name is not None:
            if self.selected is not None and self.selected.startswith("m"):
                self._name_selected(name)
            else:
                self._attempt(lambda: self.session.add_class(name))
            self._choose(name)

    def _toggle(self) -> None:
        """The images, or the examples of the classes on top of them; the stage below goes on listening to the keys."""
        self.supports.toggle()
        self.view_button.text = "Images" if self.supports.visible else "Examples"

    def _shade(self) -> None:
        self.dark.value = not self.dark.value if self.dark.value is not None else True

    def _attempt(self, step: Callable[[], Any]) -> bool:
        """Does what was asked, or says why not."""
        try:
            step()
        except (UserError, OSError) as error:
            with self.client:
                ui.notify(one_line(error), type="negative", position="bottom")
            return False
        finally:
            self.refresh()
        return True
