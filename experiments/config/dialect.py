"""The YAML that experiments are written in: safe, and free of the surprises that cost people a training."""

import re
from typing import Any

import yaml

# libyaml's parser, where PyYAML was built with it, is ten times as fast.
_SafeLoader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ExperimentLoader(_SafeLoader):
    """Safe YAML (no Python tags) with three repairs: `1e-4` is a number, a key given twice is an error, `!tuple`."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag != "tag:yaml.org,2002:merge" and key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key_node.value!r} is given twice", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


class ExperimentDumper(yaml.SafeDumper):
    """Writes what `ExperimentLoader` reads back."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


ExperimentLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)
ExperimentLoader.add_constructor("!tuple", lambda loader, node: tuple(loader.construct_sequence(node, deep=True)))
ExperimentDumper.add_representer(tuple, lambda dumper, data: dumper.represent_sequence("!tuple", list(data)))
