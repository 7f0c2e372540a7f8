"""What other programs around a cluster need."""
