"""Few-shot and fine-grained classification: data sets, samplers, methods, metrics, and the two commands."""
