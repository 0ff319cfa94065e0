"""Pictures and files as this package reads and writes them, for what stands on the public face alone.

Names of `repmet.data` and nothing of its own: a picture that a page shows has the pixels that a detector looks at.
"""

from repmet.data.files.atomic import check_folder, make_folder, write_atomically, write_text
from repmet.data.files.pictures import UnreadableImage, image_size, is_image_file, open_rgb
from repmet.data.files.walk import files_below
from repmet.data.readers.image_inputs import ImageInput

__all__ = [
    "ImageInput",
    "UnreadableImage",
    "check_folder",
    "files_below",
    "image_size",
    "is_image_file",
    "make_folder",
    "open_rgb",
    "write_atomically",
    "write_text",
]
