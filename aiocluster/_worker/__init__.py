"""The worker only."""
