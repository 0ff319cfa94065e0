"""Whole evaluations: episodes, Lake's runs, embeddings, costs of mistakes; and their reports."""
