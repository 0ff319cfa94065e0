"""One module per data source: fetch or make, verify, lay out. The files land beside it, ignored by git."""

if __name__ == "data":  # `python -m data...` in a checkout
    from repmet.one_name import unify

    unify(__name__)
