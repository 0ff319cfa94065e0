"""Trains a toy experiment."""

import sys

from repmet.experiments.running.launcher import train_command

if __name__ == "__main__":
    sys.exit(train_command("toy", __doc__, {"--size": ("data.size", "points in the data set", int)}))
