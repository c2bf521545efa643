"""The commit record of a pack, and its columns over runs."""
