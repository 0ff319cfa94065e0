"""From support embeddings to detections: representatives, scoring methods, fine-tuning."""
