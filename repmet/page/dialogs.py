"""What is asked in a window of its own: a name, what to export; and what the keys do."""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import run, ui

from repmet.errors import UserError, one_line
from repmet.page.export import FORMATS, export
from repmet.page.session import Session

KEYS = (
    ("drag", "draw a box; drag a side of the selected box to correct it"),
    ("click", "accept a find, click again to reject it, once more to take that back"),
    ("1 … 9", "class of the selected box, or of the next one drawn"),
    ("C", "new class"),
    ("Enter", "accept the selected or best find, and go to the next"),
    ("Delete", "reject the selected find, or take a drawn box away"),
    ("Tab", "select the next find"),
    ("← →", "image before, image after"),
    ("N", "the image that is worth most to look at"),
    ("ctrl-Z", "take the last step back"),
    ("wheel, + − 0", "zoom; 0 shows the whole image"),
    ("space + drag, two fingers", "move the image"),
    ("E", "the examples of all classes"),
)


class NameDialog:
    """Asks for the name of a class."""

    def __init__(self) -> None:
        with (
            ui.dialog().props("transition-duration=0") as self.dialog,
            ui.card().classes("name-card").props('data-test="name-dialog"'),
        ):
            self.title = ui.label().classes("panel-title")
            self.entry = ui.input("Name").props("outlined dense autofocus autocomplete=off").classes("name-entry")
            self.entry.on("keydown.enter", self._done)
            self.known = ui.element("div").classes("name-known")
            with ui.element("div").classes("name-buttons"):
                ui.button("Cancel", on_click=lambda: self.dialog.submit(None)).props("flat no-caps")
                ui.button("OK", on_click=self._done).props("no-caps unelevated")

    async def ask(self, title: str, known: Sequence[str]) -> str | None:
        """A name that somebody typed or picked; None where they did neither."""
        self.title.text, self.entry.value = title, ""
        self.known.clear()
        with self.known:
            for name in known:
                ui.button(name, on_click=lambda name=name: self.dialog.submit(name)).props("outline no-caps dense")
        self.dialog.open()
        answer = await self.dialog
        return str(answer) if answer else None

    def _done(self) -> None:
        name = (self.entry.value or "").strip()
        if name:
            self.dialog.submit(name)


class ExportDialog:
    """Asks what to export, and how."""

    def __init__(self, session: Session) -> None:
        self.session = session
        with ui.dialog() as self.dialog, ui.card().classes("export-card").props('data-test="export-dialog"'):
            ui.label("Export").classes("panel-title")
            self.format = ui.select(FORMATS, value="coco", label="Format").props("outlined dense").classes("name-entry")
            which = {False: "only what was drawn and accepted", True: "also all finds above the thresholds"}
            self.everything = ui.radio(which, value=False).props("dense")
            self.images = ui.checkbox("with a copy of the images", value=False).props("dense")
            self.answer = ui.label().classes("export-answer").props('data-test="export-answer"')
            ui.label(f"What was learnt is kept too, for `repmet detect --support`: {session.project.classes_file}").classes(
                "panel-note"
            )
            with ui.element("div").classes("name-buttons"):
                ui.button("Close", on_click=self.dialog.close).props("flat no-caps")
                self.go = ui.button("Export", on_click=self._export).props("no-caps unelevated")

    def open(self) -> None:
        self.answer.text = ""
        self.dialog.open()

    async def _export(self) -> None:
        self.go.disable()
        try:
            made = await run.io_bound(
                export, self.session, self.format.value, everything=self.everything.value, images=self.images.value
            )
            if made is not None:  # it is where the server ends meanwhile
                self.answer.text = f"{made.boxes} boxes in {made.images} images: {made.folder}"
        except (UserError, OSError) as error:
            self.answer.text = one_line(error)
        finally:
            self.go.enable()


class HelpDialog:
    """Keys and mouse."""

    def __init__(self) -> None:
        with ui.dialog() as self.dialog, ui.card().classes("help-card").props('data-test="help"'):
            ui.label("Keys and mouse").classes("panel-title")
            with ui.element("div").classes("help-list"):
                for key, does in KEYS:
                    ui.label(key).classes("help-key")
                    ui.label(does)
            ui.button("Close", on_click=self.dialog.close).props("flat no-caps")

    def open(self) -> None:
        self.dialog.open()
