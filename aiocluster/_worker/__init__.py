"""Code that only workers run."""
