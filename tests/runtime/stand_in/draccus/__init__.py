"""A stand-in for what reads the configurations of lerobot: registries of classes, and a decoder of dictionaries."""

import typing


class ChoiceRegistry:
    """Classes by name; a subclass of it is a registry of its own."""

    @classmethod
    def register_subclass(cls, name):
        if "_known" not in vars(cls):
            cls._known = {}

        def put(kind):
            cls._known[name] = kind
            return kind

        return put

    @classmethod
    def get_known_choices(cls):
        return dict(vars(cls).get("_known", {}))


def decode(base, raw):
    given = dict(raw)
    kind = base.get_known_choices()[given.pop("type")]
    hints, found = typing.get_type_hints(kind), {}
    for name, value in given.items():
        found[name] = value
        if name == "cameras":
            camera = typing.get_args(hints[name])[1]
            found[name] = {n: decode(camera, c) for n, c in value.items()}
        elif hints[name] is bool:
            if value not in ("true", "false"):
                raise ValueError(f"`{name}`: Couldn't parse '{value}' into a bool")
            found[name] = value == "true"
    return kind(**found)
