"""Enhance noisy speech: a file, or a folder of files, of any format, rate, length and number of channels.

    python recipes/enhance.py noisy.wav clean.wav               one file, with the default model
    python recipes/enhance.py noisy.mp3 clean.flac --picture    another format; spectrograms before and after
    python recipes/enhance.py recordings/ enhanced/ --output report/       a folder, and a report about it
    python recipes/enhance.py noisy.wav clean.wav --model sgmse.ckpt --steps 20 --device cuda    a published model

The result keeps length, rate and channels, and where the format stays the same coding, bit rate and tags; what is not
kept is said. In a folder, files whose target exists are skipped, so that a run that was interrupted goes on where it
was (--overwrite makes all of them anew). A single file that is there is replaced with --overwrite, or once you are
asked on a terminal.
"""

from speech.commands import script

if __name__ == "__main__":
    script("enhance", __doc__)
