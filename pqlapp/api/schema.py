"""What the OpenAPI document says beyond what can be read off the views."""

from typing import Any

PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "names the kind of problem, and never changes"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what is wrong in this very case, and what to do"},
        "faults": {"type": "array", "items": {"$ref": "#/components/schemas/Fault"}},
    },
}
FAULT: dict[str, Any] = {
    "type": "object",
    "required": ["path", "line", "message"],
    "properties": {
        "path": {"type": "string"},
        "line": {"type": "integer", "nullable": True},
        "message": {"type": "string"},
    },
}
ANY_OTHER = {
    "description": "A problem document (RFC 9457).",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
TEXT = {"type": "string", "maxLength": 512, "nullable": True}
OBJECT = {"type": "object", "additionalProperties": {}}
EVENT = {
    "type": "object",
    "required": ["event"],
    "additionalProperties": False,
    "properties": {
        "id": TEXT | {"description": "the same id is the same event, however often it is sent"},
        "event": {"type": "string", "minLength": 1, "maxLength": 512},
        "at": {"type": "string", "format": "date-time", "description": "when; now, if it is left out"},
        "user": TEXT,
        "anonymous": TEXT,
        "account": TEXT,
        "properties": OBJECT,
        "traits": OBJECT | {"description": "of the user"},
        "account_traits": OBJECT,
    },
}
STATUS = {
    "type": "object",
    "required": ["index", "id", "status"],
    "properties": {
        "index": {"type": "integer"},
        "id": {"type": "string", "nullable": True},
        "status": {"type": "string", "enum": ["accepted", "duplicate", "rejected"]},
        "code": {"type": "string"},
        "reason": {"type": "string"},
    },
}
EVENTS = {
    "post": {
        "operationId": "events_create",
        "description": "Send events; each is answered by itself, so bad ones do not keep the good ones out. "
        "Takes a write key or a server key.",
        "tags": ["events"],
        "security": [{"key": []}],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["events"],
                        "properties": {"events": {"type": "array", "maxItems": 2000, "items": EVENT}},
                    }
                }
            },
        },
        "responses": {
            "200": {
                "description": "A status for each event, in their order.",
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "required": ["items"],
                            "properties": {"items": {"type": "array", "items": STATUS}},
                        }
                    }
                },
            }
        },
    }
}


def complete(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add the events door, and to every operation the one shape of its errors (a hook of drf-spectacular)."""
    result["paths"] = {"/api/v1/events": EVENTS} | result["paths"]
    result["components"]["schemas"] |= {"Problem": PROBLEM, "Fault": FAULT}
    for operations in result["paths"].values():
        for operation in operations.values():
            operation["responses"]["default"] = ANY_OTHER
            _close_body(operation, result["components"]["schemas"])
    return result


def _close_body(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Say that a body has no other fields: they are refused."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        if name:
            schemas[name]["additionalProperties"] = False
