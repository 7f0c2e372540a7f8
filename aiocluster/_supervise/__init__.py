"""Policy: how many workers, restart or give up, in which order to reload. On `Primary`'s public methods only."""
