"""A page of pictures that commands leave behind: index.html, and the small pictures in page/ beside it."""

import html
import shutil
from pathlib import Path

from PIL import Image

from repmet.data.files.atomic import write_text
from repmet.data.files.saved_pictures import save_picture

STYLE = (
    "body{font:15px sans-serif;margin:2em} td,th{text-align:left;vertical-align:top;padding:6px 18px 6px 0}"
    "figure{display:inline-block;margin:0 8px 8px 0;vertical-align:top;max-width:180px} img{max-width:100%}"
    "figcaption,small{color:#555;font-size:12px;overflow-wrap:anywhere}"
)


class HtmlPage:
    """`index.html` in a folder; pictures of an earlier page there are taken away.

    Args:
        folder: where to write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.rmtree(folder / "page", ignore_errors=True)
        (folder / "page").mkdir(parents=True)

    def picture(self, picture: Image.Image, stem: str) -> str:
        """Writes a picture and returns its address on the page."""
        save_picture(picture, self.folder / "page" / f"{stem}.jpg", quality=88)
        return f"page/{stem}.jpg"

    def write(self, title: str, body: str) -> Path:
        """Writes the page around its HTML."""
        path = self.folder / "index.html"
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
