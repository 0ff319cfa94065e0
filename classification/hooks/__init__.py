"""What happens beside the training loop: starting from the training set, validation, retrieval, the projector."""
