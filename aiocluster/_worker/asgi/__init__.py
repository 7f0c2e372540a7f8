"""ASGI apps: recognised after the import, and served with uvicorn."""
