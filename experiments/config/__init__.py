"""The YAML of experiments: its dialect, its sections, and the refusal of unknown keys."""
