"""Fill the gaps of series with intervals, by the same model and guidance that forecast them.

    python recipes/impute.py                                     the embedded data, with values hidden to score it
    python recipes/impute.py --no-train                          at once, with the bundled model of all frequencies
    python recipes/impute.py --data my.csv --freq D --target sales --id shop --time day
    python recipes/impute.py --model runs/forecast/model         impute with a trained model

Gaps are missing rows, empty cells and NaN, anywhere in a series. In the last --windows horizons of every series values
are hidden (--hide) and imputed beside simple fillings, so that the table tells how far the intervals can be trusted.
"""

from tsdiff.commands import script

if __name__ == "__main__":
    script("impute", __doc__)
