"""The bridge's processes: children that share one port, so that HTTP has more than one core."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys

from node.chain.processes import dies_with_us
from node.settings import Settings

STOP_SECONDS = 15


class PortTaken(Exception):
    """The bridge's port is another program's; the message is for people."""


class Bridges:
    """Bridge processes on the host and port of the settings, as many as these say.

    The port is bound when this is made, so that a taken one is known before anything else starts.

    Raises:
        PortTaken: another program has it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._listeners = _listen(settings.host, settings.port, settings.bridges)
        self._processes: list[subprocess.Popen[bytes]] = []
        host, port = self._listeners[0].getsockname()[:2]
        self._address: tuple[str, int] = (host, port)

    @property
    def url(self) -> str:
        """Where others reach them."""
        host, port = self._address
        return self._settings.public_url or f"http://{host}:{port}"

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def start(self) -> None:
        """Start the processes; `answer` says when they serve."""
        for number, listener in enumerate(self._listeners):
            self._processes.append(_start(self._settings, listener, number))

    def alive(self) -> bool:
        """Whether all of them run."""
        return all(process.poll() is None for process in self._processes)

    async def answer(self) -> bool:
        """Wait until one serves; False when one ended instead."""
        while self.alive():
            try:
                reader, writer = await asyncio.open_connection(*self._address)
                writer.write(b"GET /health/live HTTP/1.0\r\nHost: localhost\r\n\r\n")
                status = await asyncio.wait_for(reader.readline(), timeout=30)
                writer.close()
                if b" 200 " in status:
                    return True
            except (OSError, TimeoutError):
                pass
            await asyncio.sleep(0.05)
        return False

    async def stop(self) -> None:
        """End the processes; requests under way are answered. Give the port back."""
        await asyncio.gather(*(_stop(process) for process in self._processes))
        self._processes.clear()
        for listener in self._listeners:
            listener.close()


def _start(settings: Settings, listener: socket.socket, number: int) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        **{
            f"PLAZA_{name.upper()}": str(value)
            for name, value in settings.model_dump().items()
            if value is not None
        },
        "PLAZA_LISTEN_FD": str(listener.fileno()),
        "PLAZA_BRIDGE_NUMBER": str(number),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "node.bridge.serve"],
        env=environment,
        stdin=subprocess.DEVNULL,
        pass_fds=(listener.fileno(),),
        # Ctrl-C in a terminal reaches the whole foreground group; the order of stopping is ours.
        process_group=0,
        preexec_fn=dies_with_us(),  # noqa: PLW1509
    )


async def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        await asyncio.to_thread(process.wait, STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        await asyncio.to_thread(process.wait)


def _listen(host: str, port: int, count: int) -> list[socket.socket]:
    """One socket for each bridge: from a shared one the first to wake would take most
    connections."""
    with socket.socket() as probe:  # the others would share the port with any program of ours
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(probe, host, port)
        port = probe.getsockname()[1]
    listeners = []
    for _ in range(count):
        listener = socket.socket()
        # The first for the next start: connections of this one may linger on the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _bind(listener, host, port)
        listener.set_inheritable(True)
        listeners.append(listener)
    return listeners


def _bind(listener: socket.socket, host: str, port: int) -> None:
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortTaken(
            f"port {port} of {host} is in use: end the other program, or choose another port"
            f" (--port): {error.strerror}"
        ) from error
