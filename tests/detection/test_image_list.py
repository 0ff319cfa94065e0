"""Which images a command looks at: links that lead nowhere stay on the list, names that no file can hold are told."""

import os
from pathlib import Path

from repmet.data.readers.image_inputs import ImageInput
from repmet.detection.image_list import each_once, with_text_names


def test_a_link_to_itself_is_an_image_like_any_other(tmp_path) -> None:
    loop = tmp_path / "self.jpg"
    loop.symlink_to(loop)
    inputs = [ImageInput(str(path), path) for path in (loop, tmp_path / "a.jpg", loop)]
    assert [image.path for image in each_once(inputs)] == [loop, tmp_path / "a.jpg"]  # looking at it will say what is wrong


def test_names_that_are_no_text_are_left_out_with_a_line_each() -> None:
    strange = Path(os.fsdecode(b"lat\xe9in.jpg"))
    inputs = [ImageInput(str(path), path) for path in (strange, Path("ça \U0001f469\u200d\U0001f680.jpg"))]
    kept, problems = with_text_names(inputs)
    assert kept == inputs[1:]
    assert problems == [r"'lat\udce9in.jpg' holds bytes that are no UTF-8 text; rename it"]
