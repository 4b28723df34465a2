"""Train TSDiff as a YAML file says, tune its guidance, and score it beside the seasonal naive.

    python recipes/train_tsdiff.py                                            the embedded data
    python recipes/train_tsdiff.py --config m4_hourly --folder ../shared/data/series
    python recipes/train_tsdiff.py --config published/solar_nips --hardware gpu --seed 0 --seed 1
    python recipes/train_tsdiff.py --config my.yaml --set training.max_steps=20000 --set model.lags=[24,168]

Settings that come with the package: ours for the eight sets of the paper, by the set's name, and its published ones,
published/NAME. A set is taken from --folder, where it lies in GluonTS's layout, or downloaded. Leaves in --output the
model of each seed, metrics.json, results.csv, results.md, tuning.md, a picture, and the settings as experiment.yaml. A
run that is interrupted goes on where it was.
"""

from tsdiff.commands import script

if __name__ == "__main__":
    script("train", __doc__)
