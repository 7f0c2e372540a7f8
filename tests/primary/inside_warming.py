"""What `test_template` preloads: it uses the application, on both loops, before workers are forked."""

from __future__ import annotations

import asyncio

import uvloop

from .inside_warm import use

asyncio.run(use())
uvloop.run(use())
