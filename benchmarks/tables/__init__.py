"""Results that are kept, and the tables made of them."""
