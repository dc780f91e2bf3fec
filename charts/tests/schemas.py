#!/usr/bin/env python3
"""Makes JSON schemas for kubeconform, one file for each kind: schemas.py OUT KUBERNETES PROMETHEUS_OPERATOR.

The schemas are strict: a member that is not declared is an error, as it is for an API server with strict field validation.
"""

import json
import sys
from pathlib import Path


def inlined(node, schemas, within=()):
    """The node with all references replaced by what they name. One that names what it stands in allows everything."""
    if isinstance(node, list):
        return [inlined(item, schemas, within) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[-1]
        return {} if name in within else inlined(schemas[name], schemas, (*within, name))
    if node.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    # Their meaning is another one in OpenAPI, or they tell nothing that a manifest could break.
    skipped = {"format", "default", "description"}
    # A property may be called like one of these words.
    made = {
        key: {name: inlined(value, schemas, within) for name, value in item.items()}
        if key == "properties"
        else inlined(item, schemas, within)
        for key, item in node.items()
        if key == "properties" or key not in skipped
    }
    if "properties" in made and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def write(folder, group, version, kind, schema):
    """Named as kubeconform's `{{.ResourceKind}}{{.KindSuffix}}.json`."""
    parts = [kind, group.split(".")[0], version] if group else [kind, version]
    (folder / ("-".join(parts).lower() + ".json")).write_text(json.dumps(schema))


def kubernetes(folder, module):
    for path in sorted((module / "api/openapi-spec/v3").glob("*__v1_openapi.json")):
        schemas = json.loads(path.read_text())["components"]["schemas"]
        for name, schema in schemas.items():
            kinds = schema.get("x-kubernetes-group-version-kind", [])
            # Options of a request are in all groups at once.
            if len(kinds) == 1:
                kind = kinds[0]
                write(folder, kind["group"], kind["version"], kind["kind"], inlined(schema, schemas, (name,)))


def prometheus_operator(folder, module):
    core = json.loads((folder / "pod-v1.json").read_text())
    for kind in ("podmonitors", "prometheusrules", "servicemonitors"):
        definition = json.loads((module / f"jsonnet/prometheus-operator/{kind}-crd.json").read_text())["spec"]
        for version in definition["versions"]:
            schema = inlined(version["schema"]["openAPIV3Schema"], {})
            # A definition says nothing of metadata, which are the same everywhere.
            schema["properties"]["metadata"] = core["properties"]["metadata"]
            write(folder, definition["group"], version["name"], definition["names"]["kind"], schema)


def main():
    folder, of_kubernetes, of_prometheus = map(Path, sys.argv[1:])
    folder.mkdir(parents=True)
    kubernetes(folder, of_kubernetes)
    prometheus_operator(folder, of_prometheus)


main()
