"""Measure the score of a model of series by itself: is it a density's, how many dimensions, what do few calls cost.

    python recipes/diagnose.py                                  the bundled model on the embedded data
    python recipes/diagnose.py --model runs/forecast/model      a model that is trained
    python recipes/diagnose.py --measure lidl --measure spectrum --seconds 600   what takes long
    python recipes/diagnose.py --data my.csv --freq D --prediction-length 14 --target sales --id shop --time day

What each number means, and what it does not: docs/diagnostics.md. A minute's worth of measurements is taken unless
--seconds allows more.
"""

from tsdiff.commands import script

if __name__ == "__main__":
    script("diagnose", __doc__)
