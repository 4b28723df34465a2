"""Refine the forecasts of simple forecasters by an unconditional model: table before and after, CSV, pictures.

    python recipes/refine.py                                     seasonal naive and linear, on the embedded data
    python recipes/refine.py --base deepar --method hmc          another forecaster, another method
    python recipes/refine.py --data my.csv --freq D --prediction-length 14 --target sales --id shop --time day
    python recipes/refine.py --model runs/forecast/model         with a trained model

The base forecasters are trained on what comes before the last --windows horizons of every series, and forecast those;
the model moves their samples to where it finds them likely, and the table scores both.
"""

from tsdiff.commands import script

if __name__ == "__main__":
    script("refine", __doc__)
