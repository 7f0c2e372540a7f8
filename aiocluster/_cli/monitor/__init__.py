"""What ``top`` shows, and how. Only `app` needs textual."""
