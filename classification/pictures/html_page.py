"""A page of pictures that commands leave behind: `INDEX`, and the small pictures in `PICTURES` beside it."""

import html
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from repmet.data.files.atomic import write_text
from repmet.data.files.output_folder import check_output
from repmet.data.files.saved_pictures import save_picture
from repmet.data.files.walk import check_drawn_folder, make_drawn_folder

INDEX, PICTURES = "index.html", "page"
STYLE = (
    "body{font:15px sans-serif;margin:2em} td,th{text-align:left;vertical-align:top;padding:6px 18px 6px 0}"
    "figure{display:inline-block;margin:0 8px 8px 0;vertical-align:top;max-width:180px} img{max-width:100%}"
    "figcaption,small{color:#555;font-size:12px;overflow-wrap:anywhere}"
)


def check_page(folder: Path, beside: Iterable[str]) -> None:
    """Whether a page can be written to a folder, with files beside it: a command asks before it spends time.

    Raises:
        ValueError: somebody else's files are in the way.
    """
    check_output(folder, (*beside, INDEX))
    check_drawn_folder(folder / PICTURES)


class HtmlPage:
    """A page in a folder.

    Args:
        folder: a new one, such as `data.files.output_folder` gives.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_drawn_folder(folder / PICTURES)

    def picture(self, picture: Image.Image, stem: str) -> str:
        """Writes a picture and returns its address on the page."""
        save_picture(picture, self.folder / PICTURES / f"{stem}.jpg", quality=88)
        return f"{PICTURES}/{stem}.jpg"

    def write(self, title: str, body: str) -> Path:
        """Writes the page around its HTML."""
        path = self.folder / INDEX
        name = html.escape(title)
        head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{name}</title><style>{STYLE}</style>"
        write_text(path, f"{head}<h1>{name}</h1>{body}</html>\n")
        return path


def figure(source: str, text: str, title: str = "") -> str:
    """A picture with what is written below it, and the title that shows under the pointer; plain text, all of it."""
    return (
        f'<figure><img src="{html.escape(source)}" alt="" title="{html.escape(title)}">'
        f"<figcaption>{html.escape(text)}</figcaption></figure>"
    )
