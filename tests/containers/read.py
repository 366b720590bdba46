"""Prints the documents of YAML files as one JSON object, {"file": [document, ...]}, as docker compose would read them:
anchors and merges resolved, ${NAME:-default} replaced by its default. Any other form of interpolation is an error."""

import json
import re
import sys

import yaml

DEFAULT = re.compile(r"\$\{[A-Z_]+:-([^}$]*)\}")


def resolved(value):
    if isinstance(value, dict):
        return {key: resolved(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [resolved(inner) for inner in value]
    if isinstance(value, str):
        text = DEFAULT.sub(r"\1", value)
        # $(NAME) is Kubernetes' own.
        if "$" in re.sub(r"\$\([A-Z_]+\)", "", text):
            sys.exit(f"{value}: this form of interpolation is not known here")
        return text
    return value


def main():
    files = {}
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            files[path] = [resolved(document) for document in yaml.safe_load_all(file)]
    json.dump(files, sys.stdout)


main()
