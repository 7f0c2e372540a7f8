"""What travels between two processes. Both sides import this; it imports neither."""
