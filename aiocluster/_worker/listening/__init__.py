"""The shared ports, as a worker has them."""
