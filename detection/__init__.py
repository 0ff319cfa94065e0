"""Few-shot detection: Faster R-CNN on mmdet with the RepMet head, episodes, metrics, and the three commands."""
