"""What arguments of races have in common: numbers from 1 on, and files that are there before anything runs."""
import argparse
import pathlib
import shutil


def count(text):
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return value


def check_there(parser, program, *paths):
    if not shutil.which(program):
        parser.error(f"{program}: there is no such program")
    for path in paths:
        if not pathlib.Path(path).exists():
            parser.error(f"{path}: there is no such file or folder")
