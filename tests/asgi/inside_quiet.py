"""An app that wants no access log, and says so when it is imported."""

import logging

from tests.asgi.inside_apps import app as app

logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
