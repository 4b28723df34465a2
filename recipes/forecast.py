"""Train TSDiff on hourly series (or your own) and forecast with intervals: table, CSV, picture, metrics.json.

    python recipes/forecast.py                                   the embedded data: ten regions of an electricity grid
    python recipes/forecast.py --no-train                        at once, with the bundled model of all frequencies
    python recipes/forecast.py --budget 2                        two CPU minutes: backtests choose or pool forecasters
    python recipes/forecast.py --data my.csv --freq D --prediction-length 14 --target sales --id shop --time day
    python recipes/forecast.py --model runs/forecast/model       forecast again with a trained model

The last --windows horizons of every series are held out to score the forecasts beside a seasonal-naive one; what comes
after the end of the data is forecast too. A run that is interrupted goes on where it was; a second run reuses the
trained model as long as data and settings are the same.
"""

from tsdiff.commands import script

if __name__ == "__main__":
    script("forecast", __doc__)
