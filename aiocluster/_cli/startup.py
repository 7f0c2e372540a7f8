"""``aiocluster startup``: a systemd unit that starts what was saved."""

from __future__ import annotations

import json
import os
import pwd
import sys
from pathlib import Path

import click

from .background import JSON, one_line

_UNIT = """\
[Unit]
Description=What `aiocluster save` has saved{of}
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
{user}ExecStart={command} start --saved
ExecStop={command} stop --saved
TimeoutStartSec=infinity

[Install]
WantedBy={wanted_by}
"""


@click.command("startup")
@click.option("--system", "is_system", is_flag=True, help="A unit of the system (root installs it), not of this user.")
@click.option("--install", is_flag=True, help="Write the unit where systemd finds it.")
@JSON
def command(is_system: bool, install: bool, as_json: bool) -> None:
    """Shows a systemd unit that starts at boot what `aiocluster save` has saved, and what to do with it."""
    user = pwd.getpwuid(os.getuid()).pw_name if _has_name() else str(os.getuid())
    unit = unit_text(user, is_system)
    path = _place(user, is_system)
    if install:
        with one_line():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(unit)
    systemctl = "systemctl" if is_system else "systemctl --user"
    commands = [f"{systemctl} daemon-reload", f"{systemctl} enable {path.name}"]
    if not is_system:
        commands.append(f"loginctl enable-linger {user}")  # also without a login
    if as_json:
        click.echo(json.dumps({"path": str(path), "unit": unit, "is_written": install, "commands": commands}))
        return
    if install:
        click.echo(f"{path} is written. Now:", err=True)
    else:
        click.echo(unit, nl=False)
        click.echo(f"# Write this to {path} (or: aiocluster startup --install). Then:", err=True)
    click.echo(f"#   {' && '.join(commands[:2])}", err=True)
    for one in commands[2:]:
        click.echo(f"#   {one}   # also without a login", err=True)


def unit_text(user: str, is_system: bool) -> str:
    """Returns the unit."""
    return _UNIT.format(
        of=f" ({user})" if is_system else "",
        user=_of_user(user) if is_system else "",
        command=f"{_quoted(sys.executable)} -P -m aiocluster",
        wanted_by="multi-user.target" if is_system else "default.target",
    )


def _of_user(user: str) -> str:
    lines = [f"User={user}"]
    if "XDG_RUNTIME_DIR" not in os.environ or os.getuid() == 0:
        return f"{lines[0]}\n"
    # The folder exists once systemd has started the user's manager, which a login or lingering does.
    return f"{lines[0]}\nEnvironment={_quoted('XDG_RUNTIME_DIR=' + os.environ['XDG_RUNTIME_DIR'])}\n"


def _place(user: str, is_system: bool) -> Path:
    if is_system:
        return Path(f"/etc/systemd/system/aiocluster-{user}.service")
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(home) / "systemd/user/aiocluster.service"


def _quoted(word: str) -> str:
    """Returns a word as systemd.syntax(7) wants it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if escaped != word or " " in word else word


def _has_name() -> bool:
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True
