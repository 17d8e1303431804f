"""The built-in losses as other stacks call them: their names and options from the library, handles by what was asked for."""
import inspect as signatures
import json
import threading

from ._base import default_env, option_table
from ._training import Loss

_KINDS = {"number": float, "int": int, "flag": lambda text: text == "true"}
_loaded, _handles, _lock = [], {}, threading.Lock()


class Builtin:
    """A built-in loss; preset: as another tool has it. options: {keyword: (option, default)}: keywords are the last part of the option's name, with an underscore
    behind what Python keeps for itself (lambda_)."""

    def __init__(self, name, told, table):
        self.name, self.targets, self.needs_labels = name, told["targets"], told["needs_labels"]
        self.t_squared, self.knows_temperature = told["t_squared"], told["temperature"]
        self.preset = {key: told[key] for key in ("tool", "divisor", "odd", "instead")} if "tool" in told else None
        self.options = {}
        for option in told["options"]:
            row = table["loss." + option]
            default = _KINDS[row["type"]](row["default"]) if row["default"] else None
            keyword = option.rsplit(".", 1)[1]
            self.options[keyword + "_" * (keyword == "lambda")] = option, default

    def document(self):
        """What a function of this loss says of its own options."""
        said = ["%s = %s" % (keyword, default) for keyword, (_, default) in self.options.items()]
        own = "%s(%s); targets: %s" % (self.name, ", ".join(said), self.targets or "none, labels alone")
        return own if self.preset is None else own + "; as {tool} has it, divided by {divisor}; odd: {odd}; instead: {instead}".format(**self.preset)

    def signature(self, arguments):
        """arguments: the parameters that all losses share; those of this one's options follow, by keyword."""
        own = [signatures.Parameter(keyword, signatures.Parameter.KEYWORD_ONLY, default=default)
               for keyword, (_, default) in self.options.items()]
        return signatures.Signature(list(arguments) + own)


def builtins():
    """{name: Builtin}, in the library's order."""
    with _lock:
        if not _loaded:
            table = {row["name"]: row for row in option_table()}
            told = json.loads(default_env().inspect().json())
            _loaded.append({name: Builtin(name, of, table) for of_all in ("loss_table", "preset_table") for name, of in told[of_all].items()})
        return _loaded[0]


def function_name(builtin):
    """trl-gkd is trl_gkd in Python."""
    return builtin.name.replace("-", "_")


def handle(name, temperature, t_squared, log_floor, keywords):
    """The Loss of a name at these options; made once for each."""
    known, options = builtins()[name].options, {}
    for keyword, value in keywords.items():
        if keyword not in known:
            raise TypeError("%s has no option %s; it has %s" % (name, keyword, ", ".join(known) or "none of its own"))
        if value is not None:
            options["loss." + known[keyword][0]] = value
    for keyword, value in (("temperature", temperature), ("log_floor", log_floor)):
        if value is not None:
            options["loss." + keyword] = value
    if t_squared is not None:
        options["loss.t_squared"] = "on" if t_squared else "off"
    key = name, repr(sorted(options.items()))
    with _lock:
        made = _handles.get(key)
    if made is None:
        made = Loss(name, **{option.replace(".", "__"): value for option, value in options.items()})
        with _lock:
            made = _handles.setdefault(key, made)
    return made
