"""THE CONTROL SOCKET: how the command talks to a running cluster. The server is in the primary, the client anywhere."""
