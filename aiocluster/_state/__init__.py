"""The state that all workers share: one contract, several engines behind it."""
