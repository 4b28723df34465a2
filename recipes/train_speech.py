"""Train a speech model and measure it on whole validation files.

    python recipes/train_speech.py --max-minutes 10                    light network, on a CPU
    python recipes/train_speech.py --config gpu                        NCSN++ on one GPU
    python recipes/train_speech.py --config gpu --hardware ddp         on all GPUs
    python recipes/train_speech.py --config dereverb --set data.simulated_rooms=200
    python recipes/train_speech.py --config published_sgmse --data VoiceBank-DEMAND

--data names a folder with train/ and valid/: of clean, noise and rir folders that are mixed on the fly, or, with
data.layout, of clean and noisy pairs. Leaves in --output the best model (model/) and the last one (last/),
metrics.json, metrics.md, a picture of the curves, the settings as experiment.yaml, and logs for TensorBoard. A run that
is interrupted goes on where it was.
"""

from speech.commands import script

if __name__ == "__main__":
    script("train", __doc__)
