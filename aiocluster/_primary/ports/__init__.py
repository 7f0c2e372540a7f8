"""The shared ports, as the primary has them."""
