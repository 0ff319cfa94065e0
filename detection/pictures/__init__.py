"""Pictures of supports, detections and episodes."""
