"""Train a classifier or an embedding from a YAML experiment.

python -m classification.train experiments/published/classification/protonets_1_5.yaml
python -m classification.train experiments/published/classification/repmet_flowers_3_12_4.yaml --data flowers --resume auto
"""

import sys
from collections.abc import Sequence

from repmet.experiments.running.allocator import keep_freed_memory
from repmet.experiments.running.launcher import train_command


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    keep_freed_memory()
    data = {"--data": ("data.root", "folder of the images, in the place of the experiment's data.root")}
    return train_command("classification", __doc__, data, argv, prog)


if __name__ == "__main__":
    sys.exit(main())
