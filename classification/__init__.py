"""Few-shot and fine-grained classification: data sets, samplers, methods, metrics, and the two commands."""

if __name__ == "classification":  # `python -m classification...` in a checkout
    from repmet.one_name import unify

    unify(__name__)
