"""A teacher of one language; the same one whoever asks."""


def specialist(bench, language, steps=None, name=None):
    settings = {"student.config": str(bench.folder / "model" / "config.json"), "data.train": str(bench.folder / "data" / f"teacher_{language}.txt"),
                "data.eval": str(bench.folder / "data" / f"held_{language}.txt")}
    if steps:
        settings["train.steps"] = steps
    return bench.run(name or language, "teacher.yaml", settings)
