"""HTTP with JSON, and JSON-RPC over it, with nothing but the standard library."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from wallet.errors import InvalidInput, NetworkError, RpcError

MAX_BODY = 64 * 1024 * 1024


class HttpEndpoint:
    """One http or https origin and base path, over one kept-alive connection.

    Redirects are not followed: an endpoint that moved has to be named anew.
    """

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        """Raises InvalidInput for anything but an http or https URL without credentials."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise InvalidInput(f"{url!r} is not a URL: {error}") from error
        if parts.scheme not in ("http", "https") or not host:
            raise InvalidInput(f"{url!r} is not an http or https URL")
        if parts.username is not None or parts.password is not None:
            raise InvalidInput("a URL with a name or password in it is not supported")
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self.url = url
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._connection = kind(host, port, timeout=timeout)

    def request(self, method: str, body: Any = None) -> tuple[int, Any]:
        """Send one request and return the status and the JSON of the answer.

        A connection that the other side closed while idle is opened again once; every request made
        here may safely arrive twice.

        Raises:
            NetworkError: no answer, or one that is not JSON.
        """
        payload = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        reused = self._connection.sock is not None
        try:
            try:
                status, text = self._exchange(method, payload, headers)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self.close()
                if not reused:
                    raise
                status, text = self._exchange(method, payload, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NetworkError(f"no answer from {self.url}: {error or type(error).__name__}") from (
                error
            )
        try:
            return status, json.loads(text)
        except (ValueError, RecursionError) as error:
            raise NetworkError(
                f"{self.url} answered {status} with something that is not JSON"
            ) from error

    def _exchange(
        self, method: str, payload: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        self._connection.request(method, self._target, payload, headers)
        response = self._connection.getresponse()
        text = response.read(MAX_BODY + 1)
        if len(text) > MAX_BODY:
            self.close()
            raise NetworkError(f"{self.url} answered more than {MAX_BODY} bytes")
        return response.status, text

    def close(self) -> None:
        self._connection.close()


class Rpc:
    """A chain's JSON-RPC endpoint."""

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        self._endpoint = HttpEndpoint(url, timeout)
        self._id = 0

    def call(self, method: str, *params: Any) -> Any:
        """Call a method and return its result.

        Raises:
            NetworkError: no answer, or not a JSON-RPC one.
            RpcError: the endpoint answered with an error.
        """
        self._id += 1
        request = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": list(params)}
        status, answer = self._endpoint.request("POST", request)
        if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
            raise NetworkError(f"{self._endpoint.url} answered {status} and not JSON-RPC")
        error = answer.get("error")
        if error is None:
            return answer["result"]
        if not isinstance(error, dict):
            raise RpcError(method, 0, str(error), None)
        data = error.get("data")
        if isinstance(data, dict):  # some clients wrap the revert data once more
            data = data.get("data")
        revert_data = data if isinstance(data, str) and data.startswith("0x") else None
        raise RpcError(method, int(error.get("code", 0)), str(error.get("message")), revert_data)

    def close(self) -> None:
        self._endpoint.close()


def fetch_json(url: str, timeout: float = 10.0) -> Any:
    """GET a JSON document.

    Raises:
        NetworkError: no answer, or an answer other than 200 with JSON.
    """
    return _once(url, "GET", None, timeout)


def post_json(url: str, body: Any, timeout: float = 10.0) -> Any:
    """POST a JSON document and return the answer's.

    Raises:
        NetworkError: no answer, or one that is not a success; its problem detail is in the message.
    """
    return _once(url, "POST", body, timeout)


def _once(url: str, method: str, body: Any, timeout: float) -> Any:
    endpoint = HttpEndpoint(url, timeout)
    try:
        status, answer = endpoint.request(method, body)
    finally:
        endpoint.close()
    if not 200 <= status < 300:
        detail = answer.get("detail") or answer.get("title") if isinstance(answer, dict) else None
        raise NetworkError(f"{url} answered {status}" + (f": {detail}" if detail else ""))
    return answer
