"""What a classifier trains on: images in memory, batch transforms, episode samplers, kept features."""
