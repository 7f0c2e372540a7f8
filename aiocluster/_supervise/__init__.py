"""The policy of a cluster: how many workers run, when they are restarted, and in which order they are reloaded."""
