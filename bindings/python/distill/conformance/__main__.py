"""python3 -m distill.conformance MODULE:FUNCTION"""
import argparse
import importlib
import json
import os
import sys

from . import check, defects

DESCRIPTION = """Checks a distillation loss: values, gradients, and relations that every loss keeps; says which known defect it shows.

MODULE:FUNCTION takes one argument, a case, and returns (value, gradient), both of numpy arrays, the gradient shaped as case.student.
A function with the attribute torch = True (or --torch) is given torch tensors and returns a tensor of one element: autograd does the rest.
A case has student, teacher [sequences, rows, width] logits, labels and mask [sequences, rows] (aligned with the rows: row i speaks of
labels[i]; -100 = no loss), temperature, vocab (ids from there on are padding), divisor (rows with loss in the whole window: what a mean
divides by); for top_k targets ids, log_probs, tail in place of teacher, for sampled ones sampled and sampled_log_prob. What the loss is
meant to be is said by its attribute claims = {"loss": "jsd", "options": {"jsd__teacher_weight": 0.3}, "t_squared": False, ...} or by the options
below; without either it is compared with every loss of the library at its default options."""


def arguments(given):
    parser = argparse.ArgumentParser(prog="python3 -m distill.conformance", description=DESCRIPTION,
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="exit status: 0 nothing was found, 1 something was, 2 it could not be checked")
    parser.add_argument("function", nargs="?", metavar="MODULE:FUNCTION", help="the loss; without it the library's own forward_kl is checked")
    parser.add_argument("--loss", help="what it is meant to be: a built-in loss by name (docs/losses.md)")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of that loss, as jsd.teacher_weight=0.3")
    parser.add_argument("--t-squared", choices=("on", "off"), help="whether it multiplies by T squared; default: as the built-in loss does")
    parser.add_argument("--no-temperature", action="store_true", help="it knows no temperature and claims none")
    parser.add_argument("--targets", choices=("dense", "top_k", "sampled"), help="what it is told of the teacher; default dense")
    parser.add_argument("--reduction", choices=("mean", "sum"), help="mean: over case.divisor; default mean")
    parser.add_argument("--torch", action="store_true", help="give it torch tensors, take the gradient by autograd")
    parser.add_argument("--list", action="store_true", help="list the defects that it knows, and end")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    return parser.parse_args(given)


def load(name):
    module, _, function = name.partition(":")
    if not function:
        raise ValueError("%r is not MODULE:FUNCTION" % name)
    sys.path.insert(0, os.getcwd())
    loss = importlib.import_module(module)
    for part in function.split("."):
        loss = getattr(loss, part)
    if not callable(loss):
        raise ValueError("%s is not a function" % name)
    return loss


def said(args):
    options = {}
    for item in args.option:
        name, equals, value = item.partition("=")
        if not equals:
            raise ValueError("--option %s is not NAME=VALUE" % item)
        options[name.replace(".", "__")] = json.loads(value)
    return {"loss": args.loss, "options": options or None, "t_squared": None if args.t_squared is None else args.t_squared == "on",
            "targets": args.targets, "reduction": args.reduction, "temperature": False if args.no_temperature else None}


def own(case):
    """The library's forward_kl: what there is to check without a function."""
    import numpy as np
    from .. import Loss, dense
    z, t = (part.reshape(-1, part.shape[-1]) for part in (case.student, case.teacher))
    gradient = np.zeros(z.shape, dtype=np.float32)
    scale = 1 / max(case.divisor, 1)
    result = Loss("forward_kl", temperature=case.temperature)(dense(z, vocab_valid=min(case.vocab, z.shape[-1])),
                                                             dense(t, vocab_valid=min(case.vocab, t.shape[-1])),
                                                             labels=case.labels.reshape(-1), gradient=gradient, grad_scale=scale)
    return result.sum * scale, gradient.reshape(case.student.shape)


own.claims = {"loss": "forward_kl"}


def report(result):
    print("checked as %s" % result["claim"])
    for part in ("cases", "relations"):
        for item in result[part]:
            print("  %s %s%s" % ("ok  " if not item["problem"] else "FAIL", item["name"], ": " + item["problem"] if item["problem"] else ""))
    for defect in result["defects"]:
        print("defect: %s: %s. Seen in: %s." % (defect["name"], defect["sentence"], defect["reference"]))
    if result["unexplained"]:
        print("no known defect explains: %s" % ", ".join(result["unexplained"]))
    elif not result["ok"] and not result["defects"]:
        print("no known defect explains it")
    if result["ok"]:
        print("nothing was found")


def main(given=None):
    args = arguments(given)
    if args.list:
        for defect in defects:
            print("%s: %s. Seen in: %s." % (defect.name, defect.sentence, defect.reference))
        return 0
    try:
        loss = load(args.function) if args.function else own
        if args.torch:
            loss.torch = True
        result = check(loss, **{name: value for name, value in said(args).items() if value is not None})
    except (ValueError, ImportError, AttributeError, TypeError) as error:
        print("conformance: %s" % error, file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        report(result)
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
