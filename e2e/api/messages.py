"""Checks messages against an AsyncAPI document: its file is the argument, stdin has `topic payload` lines."""

import json
import re
import sys

from jsonschema import Draft202012Validator

with open(sys.argv[1]) as file:
    document = json.load(file)
schemas = document["components"]["schemas"]
channels = []
for name, channel in document["channels"].items():
    address = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(channel["address"]))
    payload = document["components"]["messages"][name]["payload"]
    # references begin at the root, so that the schemas come along
    schema = {"allOf": [payload], "components": {"schemas": schemas}}
    Draft202012Validator.check_schema(schema)
    channels.append((re.compile(address + r"\Z"), name, Draft202012Validator(schema)))

seen = {}
for line in sys.stdin:
    topic, payload = line.rstrip("\n").split(" ", 1)
    found = [(name, validator) for address, name, validator in channels if address.match(topic)]
    if len(found) != 1:
        sys.exit(f"{topic} belongs to {len(found)} channels")
    name, validator = found[0]
    for error in validator.iter_errors(json.loads(payload)):
        sys.exit(f"{topic}: {error.message}: {error.json_path}: {payload}")
    seen[name] = seen.get(name, 0) + 1
print(json.dumps(seen))
