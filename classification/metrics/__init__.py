"""Figures of classification from embeddings computed once: accuracies, episodes, retrieval, costs."""
