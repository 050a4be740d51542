"""Downloaded files: where they are, whose they are, and which of them were verified."""
