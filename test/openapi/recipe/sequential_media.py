"""Schemathesis has no reader for NDJSON: an answer is the list of its lines."""

import json

import schemathesis


@schemathesis.deserializer("application/x-ndjson")
def lines(_context, response):
    return [json.loads(line) for line in response.content.decode().splitlines()]
