"""The YAML experiments and the one launcher that runs them."""

if __name__ == "experiments":  # `python -m experiments...` in a checkout
    from repmet.one_name import unify

    unify(__name__)
