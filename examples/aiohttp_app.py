"""An aiohttp app on all cores.

The app has no code for aiocluster: it is what you would run with ``python aiohttp_app.py``. The command runs it in four
workers, which share its port. Each answer is the pid of the worker that has answered. It needs aiohttp.

    $ pip install aiocluster aiohttp
    $ aiocluster run -w 4 aiohttp_app.py

It listens on ``$PORT``, by default 8000, until Ctrl-C. In another terminal:

    $ curl http://127.0.0.1:8000
    4711
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
