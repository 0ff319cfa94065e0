"""Images once through the detector: boxes, objectness and embeddings, kept in memory and on disk."""
