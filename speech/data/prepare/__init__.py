"""Public sets, and sets of one's own, as folders of clean and noisy pairs that `speech.data.pairs` reads."""

from speech.data.prepare.common import Prepared
from speech.data.prepare.ears import prepare_ears_wham
from speech.data.prepare.frozen import prepare_bandwidth, prepare_mix
from speech.data.prepare.voicebank import prepare_voicebank
from speech.data.prepare.wsj0 import prepare_wsj0_chime3, prepare_wsj0_reverb

__all__ = [
    "Prepared",
    "prepare_bandwidth",
    "prepare_ears_wham",
    "prepare_mix",
    "prepare_voicebank",
    "prepare_wsj0_chime3",
    "prepare_wsj0_reverb",
]
