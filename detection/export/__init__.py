"""A trained detector as a graph of standard operators, which runs without torch; the classes are no part of it."""
