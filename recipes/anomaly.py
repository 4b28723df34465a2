"""Train TSDiff on hourly series (or your own), and find what is unlikely in them: scores, picture, evaluation.

    python recipes/anomaly.py                                   the embedded data: ten regions of an electricity grid
    python recipes/anomaly.py --data my.csv --freq D --target sales --id shop --time day
    python recipes/anomaly.py --method ode --stride 12          the exact density of windows in place of the bound

The end of every series is held out (--windows horizons) and scored step by step; the threshold is a quantile of the
scores before. To measure the detector, anomalies of eight kinds are then put into copies of the held-out part.
A run that is interrupted goes on where it was; a second run reuses the trained model as long as data and settings are
the same.
"""

from tsdiff.commands import script

if __name__ == "__main__":
    script("anomaly", __doc__)
