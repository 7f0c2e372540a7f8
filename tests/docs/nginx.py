"""A real nginx with a configuration from a page of the documentation."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.docs.ports import free_port
from tests.docs.snippets import titled
from tests.support.programs import listening_address
from tests.support.serving import wait_until_it_handles

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
AROUND = """
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr error;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {page}
}}
"""


@contextmanager
def nginx(folder: Path, page: str, title: str, *changes: tuple[str, str]) -> Iterator[int]:
    """Runs nginx with a configuration of a page, with some of its text replaced. Yields its port."""
    assert NGINX is not None
    port = free_port()
    text = titled(page, title)
    for old, new in [("listen 80;", f"listen 127.0.0.1:{port};"), *changes]:
        assert old in text
        text = text.replace(old, new)
    configuration = folder / "nginx.conf"
    configuration.write_text(AROUND.format(page=text, user="user root;" if os.getuid() == 0 else ""))
    command = [NGINX, "-p", str(folder), "-e", "stderr", "-c", str(configuration)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            listening_address(process.pid)
            wait_until_it_handles(signal.SIGQUIT, process.pid)
            yield port
        finally:
            process.send_signal(signal.SIGQUIT)
            errors = process.stderr.read()
            process.wait(20)
    assert "[emerg]" not in errors, errors
