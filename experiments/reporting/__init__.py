"""What both trees report by: means with their intervals, and rows of figures."""
