"""One file per published loss, its equation in the docstring."""
