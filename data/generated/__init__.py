"""Generated data: characters of pen strokes, and scenes of them."""
