"""BOTH SIDES. The application's numbers: from each worker's registry to one page for the cluster."""
