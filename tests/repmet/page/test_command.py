"""What the page's command refuses before it opens a detector or a port."""

import pytest
from PIL import Image

from repmet.page.command import main

pytest.importorskip("nicegui")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--classes", "a.png"], "a.png: is no file of classes; `repmet detect --save` writes one"),
        (["--classes", "none.repmet"], "none.repmet: no such file of classes"),
        (["--whole", "--classes", "a.png"], "--classes begins with classes of boxes; --whole sorts whole images"),
        (["--port", "70000"], "a port is in 0..65535, not 70000"),
    ],
)
def test_a_call_that_cannot_be_right_is_one_line(tmp_path, monkeypatch, capsys, options, message) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 30)).save("a.png")
    assert main(["a.png", "--no-browser", *options]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
