"""The console commands as a script: `tsdiff VERB …` or `speech VERB …`."""

from __future__ import annotations

import sys

import speech.commands
import tsdiff.commands

if __name__ == "__main__":
    program = sys.argv.pop(1)
    {"tsdiff": tsdiff.commands.main, "speech": speech.commands.main}[program]()
