"""Train a detector from a YAML experiment.

python -m detection.train experiments/detection/demo.yaml
python -m detection.train experiments/detection/repmet_r50_fpn_voc07.yaml --data /path/to/VOCdevkit --resume auto
"""

import sys

from experiments.launcher import train_command


def main(argv: list[str] | None = None) -> int:
    data = {"--data": ("data.root", "folder in VOC layout, in the place of the experiment's data.root")}
    return train_command("detection", __doc__, data, argv)


if __name__ == "__main__":
    sys.exit(main())
