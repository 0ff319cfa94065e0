"""`python -m repmet`: the command `repmet`."""

from repmet.command import run

if __name__ == "__main__":
    run()
