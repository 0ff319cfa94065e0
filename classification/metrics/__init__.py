"""Figures of classification from embeddings computed once: accuracies, episodes, intervals, rows of results."""
