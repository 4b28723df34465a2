"""Make a folder of clean and noisy pairs to train and measure on: `speech prepare` as a script; --help has examples."""

from speech_pairs.command import application

from shared.console.command import run_app

if __name__ == "__main__":
    run_app(application("python recipes/prepare_speech.py"))
