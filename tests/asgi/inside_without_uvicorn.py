"""Preloaded, this makes an interpreter that has no uvicorn."""

import sys

sys.modules["uvicorn"] = None  # type: ignore[assignment]
