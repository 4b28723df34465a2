"""Make a folder of clean and noisy pairs to train and measure on, from a public set or your own recordings.

    python recipes/prepare_speech.py voicebank DOWNLOADS --output data/voicebank
    python recipes/prepare_speech.py wsj0-chime3 WSJ0 CHIME3 --output data/wsj0-chime3
    python recipes/prepare_speech.py wsj0-reverb WSJ0 --output data/wsj0-reverb
    python recipes/prepare_speech.py ears-wham EARS WHAM48kHz --cuts test_files.json --output data/ears-wham
    python recipes/prepare_speech.py mix --clean SPEECH --noise NOISE --rooms RESPONSES --count 5000
    python recipes/prepare_speech.py bandwidth --clean SPEECH --cutoff 4000

The sets are downloaded by hand, for most ask to agree to a licence; WSJ0 is decompressed first, by
`sph2pipe -f wav in.wv1 out.wav` for each file. OUTPUT holds train, valid and test with
clean and noisy (or anechoic and reverb), a table of each part, and metrics.json. Files that cannot be read are left
out, listed, and make the exit status 1. A run that is stopped goes on where it was.
"""

from speech.commands.prepare import main

if __name__ == "__main__":
    main(__doc__)
