"""The protocol between two processes. Both sides import this package; it imports neither of them."""
