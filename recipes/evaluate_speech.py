"""Score enhanced speech (PESQ, ESTOI, SI-SDR and its parts, LSD, CSIG, CBAK, COVL, DNSMOS): table, CSV, picture.

    python recipes/evaluate_speech.py clean/ enhanced/ --noisy noisy/         folders that exist
    python recipes/evaluate_speech.py clean/ --noisy noisy/ --model default   enhance first, then score
    python recipes/evaluate_speech.py                                         the default model on the public test pairs

Files are paired by name. Those that cannot be scored are listed with the reason and left out of the means.
"""

from speech.commands import script

if __name__ == "__main__":
    script("evaluate", __doc__)
