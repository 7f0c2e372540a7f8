"""The shared ports, in a worker."""
