"""Other people's test suites, run plainly and inside one worker: `nox -s downstream`."""
