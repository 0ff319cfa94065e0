"""Train a detector from a YAML experiment.

python -m detection.train experiments/detection/demo.yaml
python -m detection.train experiments/published/detection/repmet_r50_fpn_voc07.yaml --data /path/to/VOCdevkit --resume auto
python -m detection.train experiments/detection/repmet_r18_fod.yaml --data my_photos --novel 5
"""

import sys
from collections.abc import Sequence

from repmet.experiments.running.allocator import keep_freed_memory
from repmet.experiments.running.launcher import train_command


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    keep_freed_memory()
    data = {
        "--data": ("data.root", "a VOC devkit, or any folder with VOC XML or COCO JSON, in the place of data.root"),
        "--novel": ("data.held_out", "of such a folder: classes (A,B,...) to keep from the training, or how many"),
    }
    return train_command("detection", __doc__, data, argv, prog)


if __name__ == "__main__":
    sys.exit(main())
