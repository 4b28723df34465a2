"""Measure the score of a speech model by itself: is it a density's, how many dimensions, what do few calls cost.

    python recipes/diagnose_speech.py                             the default model on the public test pairs
    python recipes/diagnose_speech.py noisy/ --clean clean/ --model causal
    python recipes/diagnose_speech.py noisy.wav --model sgmse.ckpt --seconds 300

What each number means, and what it does not: docs/diagnostics.md. A minute's worth of measurements is taken unless
--seconds allows more.
"""

from speech.commands import script

if __name__ == "__main__":
    script("diagnose", __doc__)
