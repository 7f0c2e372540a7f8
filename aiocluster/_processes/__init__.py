"""BOTH SIDES. Processes: started, watched, signalled, and what their streams are."""
