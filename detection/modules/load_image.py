"""The images of mmdet's pipelines, read as everything here reads images."""

import mmcv.transforms
import numpy as np
from mmdet.registry import TRANSFORMS
from mmengine import fileio

from repmet.data.files.pictures import read_rgb


@TRANSFORMS.register_module()
class LoadImageFromFile(mmcv.transforms.LoadImageFromFile):
    """mmcv's transform of this name, by `data.files.pictures`: stands in for it in every pipeline of mmdet, old ones too.

    OpenCV turns JPEG upright and few other formats, shows what is under full transparency, and returns None for damaged
    files. Plain 8-bit pictures come out as OpenCV decodes them, so trained weights mean what they meant.

    Args:
        arguments: as mmcv's. Another `color_type` than `color` or `imdecode_backend` than `cv2` is left to mmcv.

    Raises:
        UnreadableImage (a ValueError): the file is missing, damaged or no image; unless `ignore_empty`.
    """

    def transform(self, results: dict) -> dict | None:
        """Puts `img`, (H, W, 3) BGR, and its shape beside `img_path`."""
        if self.color_type != "color" or self.imdecode_backend != "cv2" or self.file_client_args is not None:
            return super().transform(results)
        path = results["img_path"]
        try:
            image = bgr(fileio.get(path, backend_args=self.backend_args), path)
        except (OSError, ValueError):
            if self.ignore_empty:
                return None
            raise
        results["img"] = image.astype(np.float32) if self.to_float32 else image
        results["img_shape"] = results["ori_shape"] = image.shape[:2]
        return results


def bgr(source: str | bytes, name: str | None = None) -> np.ndarray:
    """An image in mmdet's order of colours, (H, W, 3) uint8. Arguments and errors as `data.files.pictures.read_rgb`."""
    return np.ascontiguousarray(read_rgb(source, name)[..., ::-1])
