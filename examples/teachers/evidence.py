"""Runs of `distill` that are done once: what is finished is read, what was interrupted goes on."""
import hashlib
import json
import pathlib
import statistics
import subprocess
import sys

SEEDS = (1, 2, 3)
HERE = pathlib.Path(__file__).resolve().parent


class Bench:
    """The program, and the folder that everything is left in."""

    def __init__(self, distill, folder):
        self.distill, self.folder, self.made, self.planned = distill, pathlib.Path(folder), 0, 0

    def run(self, name, recipe, settings):
        """Trains as the recipe and settings say, into FOLDER/name; its result.json."""
        out = self.folder / name
        command = [self.distill, "run", str(HERE / recipe)]
        for key, value in settings.items():
            command += ["--set", "%s=%s" % (key, value if isinstance(value, str) else json.dumps(value))]
        command += ["--set", "output.path=%s" % out]
        mark = hashlib.sha256(json.dumps([command[2:], (HERE / recipe).read_text()]).encode()).hexdigest()
        self.made += 1
        print("== %d/%d %s" % (self.made, self.planned, name), file=sys.stderr, flush=True)
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
            code = subprocess.run(command + ["--json"], stdout=printed, check=False).returncode
        if code:
            marked.unlink()
            sys.exit(code)
        return json.loads((out / "result.json").read_text())

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


def specialist(bench, language, steps=None, name=None):
    """A teacher of one language; the same one whoever asks."""
    settings = {"student.config": str(bench.folder / "model" / "config.json"), "data.train": str(bench.folder / "data" / f"teacher_{language}.txt"),
                "data.eval": str(bench.folder / "data" / f"held_{language}.txt")}
    if steps:
        settings["train.steps"] = steps
    return bench.run(name or language, "teacher.yaml", settings)
