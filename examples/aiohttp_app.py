"""An aiohttp application without any code for aiocluster. It listens on ``$PORT``, by default 8000.

``python -m aiocluster run -w 4 examples/aiohttp_app.py`` runs it in four workers that share the port.
"""

import os

from aiohttp import web

PORT = int(os.environ.get("PORT", "8000"))


async def answer(request: web.Request) -> web.Response:
    """Answers each request with this process's pid."""
    return web.Response(text=f"{os.getpid()}\n")


app = web.Application()
app.router.add_get("/", answer)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=PORT)
