"""Draw a synthetic data set like hourly series (or your own); report how real it looks and what it is worth.

    python recipes/synthesize.py                                the embedded data: ten regions of an electricity grid
    python recipes/synthesize.py --n 10000 --csv --models deepar,patchtst   more windows, more downstream models
    python recipes/synthesize.py --data my.csv --freq D --prediction-length 14 --target sales --id shop --time day
    python recipes/synthesize.py --model runs/forecast/model    draw from a model that is trained

Windows are unconditional samples of TSDiff at the scale and the time of windows of the training series. The report sets
them beside other real windows and two surrogates with the real windows' second moments, and trains forecasters on each
to score them on the real test windows. A run that is interrupted goes on where it was.
"""

from tsdiff.commands import script

if __name__ == "__main__":
    script("synthesize", __doc__)
