"""The images that were embedded last, in memory: to look again at one of them, or correct a find in it, costs no network."""

from collections import OrderedDict

from repmet.data.sources.voc import ImageRecord
from repmet.detection.embedding.cache import EmbeddingCache, image_digest
from repmet.detection.embedding.embedded_image import EmbeddedImage

IMAGES = 64  # of the shipped detector some 2 MB each; with 128, `repmet detect` held 1.6 GB


class RecentEmbeddings:
    """Keeps the last `IMAGES` embedded images of one detector, with the interface of an `EmbeddingCache`.

    Args:
        disk: where all of them are kept as files, if anywhere.
    """

    folder = None  # nothing to tell the user of

    def __init__(self, disk: EmbeddingCache | None = None) -> None:
        self.disk = disk
        self._images: OrderedDict[str, EmbeddedImage] = OrderedDict()
        self._beside: dict[str, RecentEmbeddings] = {}

    def beside(self, name: str) -> "RecentEmbeddings":
        """The one for something else that the same detector makes of the same images."""
        if name not in self._beside:
            self._beside[name] = RecentEmbeddings(self.disk and self.disk.beside(name))
        return self._beside[name]

    def get(self, record: ImageRecord) -> EmbeddedImage | None:
        """What is kept of an image, None where nothing is."""
        key = image_digest(record)
        if key in self._images:
            self._images.move_to_end(key)
            return self._images[key]
        image = None if self.disk is None else self.disk.get(record)
        if image is not None:
            self._keep(key, image)
        return image

    def put(self, record: ImageRecord, image: EmbeddedImage) -> None:
        """Keeps an embedded image."""
        self._keep(image_digest(record), image)
        if self.disk is not None:
            self.disk.put(record, image)

    def _keep(self, key: str, image: EmbeddedImage) -> None:
        self._images[key] = image
        while len(self._images) > IMAGES:
            self._images.popitem(last=False)
