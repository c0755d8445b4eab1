"""Checks a reference read from stdin: valid OpenAPI 3.1, and every example fits its schema."""

import json
import sys

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

document = json.load(sys.stdin)
validate(document)
registry = Registry().with_resource("urn:doc", Resource(document, DRAFT202012))


def located(schema):
    """The same with references into the document."""
    if isinstance(schema, dict):
        return {
            key: "urn:doc" + value if key == "$ref" and value.startswith("#") else located(value)
            for key, value in schema.items()
        }
    return [located(item) for item in schema] if isinstance(schema, list) else schema


registry = Registry().with_resource("urn:doc", Resource(located(document), DRAFT202012))


def check(where, schema, example):
    validator = Draft202012Validator(located(schema), registry=registry, format_checker=Draft202012Validator.FORMAT_CHECKER)
    for error in validator.iter_errors(example):
        print(f"{where}: {error.message}: {error.json_path}")
        sys.exit(1)


count = 0
for name, schema in document["components"]["schemas"].items():
    for example in schema.get("examples", []):
        check(name, schema, example)
        count += 1
for path, item in document["paths"].items():
    for method, operation in item.items():
        for media in operation.get("requestBody", {}).get("content", {}).values():
            if "example" in media:
                check(f"{method} {path}", media["schema"], media["example"])
                count += 1
        for status, response in operation["responses"].items():
            for media in response.get("content", {}).values():
                for name in media.get("examples", {}):
                    check(f"{method} {path} {status}", media["schema"], document["components"]["examples"][name]["value"])
                    count += 1
print(f"{sum(len(item) for item in document['paths'].values())} calls, {count} examples")
