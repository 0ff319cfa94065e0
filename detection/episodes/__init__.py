"""What an episode is: which boxes are supports and which images are queries; drawn, published, or a person's own."""
