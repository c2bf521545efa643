"""What compares settings, and searches among them."""
