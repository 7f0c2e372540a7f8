"""IN THE PRIMARY'S PROCESS. Several clusters as one fleet, by way of a Redis."""
