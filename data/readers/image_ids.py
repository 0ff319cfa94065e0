"""Ids of images that tell files apart: episodes, caches and results name images by them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path


def unique_ids(ids: Sequence[str], paths: Sequence[Path], root: Path) -> list[str]:
    """The ids as they are where they differ; where several images share one, their paths below `root`, without the suffix
    where that is enough.

    An id therefore depends on the whole set: give all its parts at once.
    """
    result = list(ids)
    for spell in (_without_suffix, _whole):
        for shared in _shared(result):
            for k in shared:
                result[k] = spell(paths[k], root)
    return result


def _shared(ids: Sequence[str]) -> list[list[int]]:
    places: Mapping[str, list[int]] = defaultdict(list)
    for k, image_id in enumerate(ids):
        places[image_id].append(k)
    return [shared for shared in places.values() if len(shared) > 1]


def _whole(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _without_suffix(path: Path, root: Path) -> str:
    return Path(_whole(path, root)).with_suffix("").as_posix()
