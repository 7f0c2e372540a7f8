"""Code that only the primary runs."""
