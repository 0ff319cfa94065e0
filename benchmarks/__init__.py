"""Side-by-side measurements: each prints a table and writes JSON."""

if __name__ == "benchmarks":  # `python -m benchmarks...` in a checkout
    from repmet.one_name import unify

    unify(__name__)
