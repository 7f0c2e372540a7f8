"""The shared ports, in the primary."""
