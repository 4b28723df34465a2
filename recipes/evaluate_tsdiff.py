"""Score trained models on the test windows of a data set: CSV and Markdown with seeds, metrics.json, a picture.

    python recipes/evaluate_tsdiff.py                                         the embedded data; trains if need be
    python recipes/evaluate_tsdiff.py --model runs/train/model --seed 0 --seed 1 --seed 2
    python recipes/evaluate_tsdiff.py --model runs/train/model --guidance mse --guidance quantile
    python recipes/evaluate_tsdiff.py --model runs/train/model --set sampling.steps=4
    python recipes/evaluate_tsdiff.py --config m4_hourly --folder ../shared/data/series

Data and settings come from --config as in train_tsdiff.py, which left them as experiment.yaml beside its results. The
models given draw as they were saved, but for --set sampling.… and --guidance.
"""

from tsdiff.commands import script

if __name__ == "__main__":
    script("evaluate", __doc__)
