"""Runs of `distill` that are done once: what is finished is read, what was interrupted goes on."""
import hashlib
import json
import pathlib
import statistics
import subprocess
import sys
import time

SEEDS = (1, 2, 3)


def code_of(command, printed):
    """What it exits with. Ctrl-C reaches the program, too, which saves before it ends: it is waited for."""
    with subprocess.Popen(command, stdout=printed) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue


class Bench:
    """The program, the folder that everything is left in, and the one that recipes are in."""

    def __init__(self, distill, folder, recipes):
        self.distill, self.folder, self.recipes = distill, pathlib.Path(folder), pathlib.Path(recipes)
        self.made, self.planned = 0, 0
        self.costs = {}  # of runs by name, in any unit: what is left is told in time where they are given
        self.spent = [0.0, 0.0]  # seconds, and their cost

    def run(self, name, recipe, settings):
        """Trains as the recipe and settings say, into FOLDER/name; its result.json."""
        out, recipe = self.folder / name, self.recipes / recipe
        command = [self.distill, "run", str(recipe)]
        for key, value in settings.items():
            command += ["--set", "%s=%s" % (key, value if isinstance(value, str) else json.dumps(value))]
        command += ["--set", "output.path=%s" % out]
        mark = hashlib.sha256(json.dumps([command[2:], recipe.read_text()]).encode()).hexdigest()
        self.made += 1
        print("== %d/%d %s%s" % (self.made, self.planned, name, self.left()), file=sys.stderr, flush=True)
        cost, started = self.costs.pop(name, 0), time.time()
        marked = out / "evidence.sha256"
        if marked.exists() and marked.read_text() == mark:
            if (out / "result.json").exists():
                return json.loads((out / "result.json").read_text())
            if any((out / "checkpoints").glob("*")):
                command.append("--resume")
        elif out.exists():
            command += ["--set", "output.overwrite=true"]
        out.mkdir(parents=True, exist_ok=True)
        marked.write_text(mark)
        with open(out / "printed.json", "w", encoding="utf-8") as printed:
            code = code_of(command + ["--json"], printed)
        if code:
            if not any((out / "checkpoints").glob("*")):
                marked.unlink()
            sys.exit(code)
        self.spent = [self.spent[0] + time.time() - started, self.spent[1] + cost]
        return json.loads((out / "result.json").read_text())

    def left(self):
        """How long the runs with a cost will take, by what those before them took."""
        if not self.spent[1]:
            return ""
        return ", about %.0f minutes to go" % (sum(self.costs.values()) * self.spent[0] / self.spent[1] / 60)

    def evaluate(self, student, data, teacher):
        """Perplexity of FOLDER/student on a text, and KL(teacher||student) to FOLDER/teacher."""
        command = [self.distill, "eval", "--student", str(self.folder / student), "--teacher", str(self.folder / teacher), "--data",
                   str(self.folder / "data" / data), "--set", "data.separator=", "--set", "data.sequence_length=128", "--set", "train.eval_tokens=40000", "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(done.returncode)
        return json.loads(done.stdout)


def mean_sd(values):
    values = list(values)
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0
