"""Pictures and pages of a classifier's predictions."""
