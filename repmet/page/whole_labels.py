"""The classes of whole images: what a person said of each, on disk before the next thing is said; one page at a time.

whole.json   classes in the order of their digits, and by image the class that somebody gave it
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from repmet.errors import UserError
from repmet.files import write_text
from repmet.page.marks import checked_name
from repmet.page.project_folder import ProjectFolder

FORMAT = "repmet-page-whole-1"


@dataclass(frozen=True)
class Labels:
    """All that one step back restores.

    Attributes:
        classes: in the order of their digits.
        by_image: by the name of an image in the project, its class.
    """

    classes: tuple[str, ...] = ()
    by_image: Mapping[str, str] = field(default_factory=dict)

    def with_class(self, name: str) -> Labels:
        name = checked_name(name)
        return self if name in self.classes else replace(self, classes=(*self.classes, name))

    def assigned(self, images: Sequence[str], name: str | None) -> Labels:
        """Images get a class, which may be new, or with None lose theirs."""
        by_image = {image: old for image, old in self.by_image.items() if image not in images}
        if name is None:
            return replace(self, by_image=by_image)
        known = self.with_class(name)
        return replace(known, by_image={**by_image, **dict.fromkeys(images, checked_name(name))})


class WholeProject(ProjectFolder[Labels]):
    """Labels on disk and in memory; see `ProjectFolder`."""

    main = "whole.json"

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder, Labels())

    @property
    def file(self) -> Path:
        return self.folder / self.main

    def _write(self, labels: Labels) -> None:
        content = {"format": FORMAT, "classes": list(labels.classes), "labels": dict(sorted(labels.by_image.items()))}
        write_text(self.file, json.dumps(content, ensure_ascii=False, indent=1) + "\n")

    def _read(self) -> None:
        if not self.file.exists():
            return
        try:
            content = json.loads(self.file.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise UserError(f"{self.file}: of another format, {content['format']!r}; this page reads {FORMAT!r}")
            classes = tuple(map(checked_name, content["classes"]))
            by_image = {str(image): checked_name(name) for image, name in content["labels"].items()}
            self.state = Labels(classes, by_image)
            if strange := set(by_image.values()) - set(classes):
                raise UserError(f"{self.file}: {strange.pop()!r} is none of its classes")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"{self.file}: cannot be read ({type(error).__name__}: {error}); repair it, or name another --project"
            ) from None
