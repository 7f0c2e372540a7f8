"""The primary only."""
