"""The YAML experiments and the one launcher that runs them."""
