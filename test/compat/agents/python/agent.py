"""What the Python agents share: requests in, events out. README.md describes both."""

import base64
import json
import sys
import threading
from queue import Queue

stopped = threading.Event()
_lines = Queue()
_output = threading.Lock()


class Failure(Exception):
    """An error with the code that the Kafka protocol gives it."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def _read():
    for line in sys.stdin:
        _lines.put(line)
    stopped.set()
    _lines.put(None)


def emit(event, **body):
    with _output:
        sys.stdout.write(json.dumps({"event": event, **body}) + "\n")
        sys.stdout.flush()


def emit_record(partition, offset, timestamp_ms, key, value, headers):
    emit(
        "record",
        partition=partition,
        offset=offset,
        timestampMs=timestamp_ms,
        key=encode(key),
        value=encode(value),
        headers=[[name, encode(each)] for name, each in headers or []],
    )


def encode(data):
    return None if data is None else base64.b64encode(data).decode()


def decode(text):
    return None if text is None else base64.b64decode(text)


def serve(commands):
    """Answers one request after another until the input ends. `commands`: functions by name."""
    threading.Thread(target=_read, daemon=True).start()
    while (line := _lines.get()) is not None:
        request = json.loads(line)
        try:
            emit("done", **(commands[request["command"]](request) or {}))
        except Exception as error:  # Whatever the library raises is what the test wants to see.
            code = getattr(error, "code", None)
            emit("failed", code=code if isinstance(code, int) else None, message=f"{type(error).__name__}: {error}")
