"""What both trees share: pure torch, no data, no loops, no mm packages."""

if __name__ == "model_definitions":  # `python -m model_definitions...` in a checkout
    from repmet.one_name import unify

    unify(__name__)
