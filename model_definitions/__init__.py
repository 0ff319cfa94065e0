"""What both trees share: pure torch, no data, no loops, no mm packages."""
