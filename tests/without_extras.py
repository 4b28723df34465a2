"""Run by `test_extras.py` in a process of its own, in which nothing that an extra installs can be imported.

Prints, as JSON, what a forecast and an enhancement come to, and the error of each thing that needs more.
"""

from __future__ import annotations

import sys

import lightning  # noqa: F401 first: torchmetrics loads what is installed, and does without what is not

BLOCKED = (
    *("pesq", "pystoi", "speechmos", "librosa", "onnxruntime", "sklearn", "joblib", "pyroomacoustics", "torchaudio"),
    *("statsforecast", "huggingface_hub", "mutagen", "av", "torch_pesq", "tensorboard", "tensorboardX"),
    *("onnx", "onnxscript", "sounddevice", "ray"),
)
sys.modules.update(dict.fromkeys(BLOCKED))  # None there is what `import` refuses

import json  # noqa: E402
import pkgutil  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Callable  # noqa: E402
from importlib import import_module  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from shared.errors import DiffusionError  # noqa: E402
from shared.files.checkpoint import resolve  # noqa: E402
from speech import Enhancer, metrics  # noqa: E402
from speech.audio.devices import device_list  # noqa: E402
from speech.audio.files import Audio  # noqa: E402
from speech.audio.loudness import LoudnessMeter  # noqa: E402
from speech.audio.search import find_audio  # noqa: E402
from speech.audio.writing import write_audio  # noqa: E402
from speech.data.rooms import Room, simulate  # noqa: E402
from speech.metrics.measures import chosen_metrics  # noqa: E402
from speech.training.fit import Validation  # noqa: E402
from speech.training.settings import Experiment  # noqa: E402
from speech.training.terms import ObjectiveConfig, SpeechObjective  # noqa: E402
from tsdiff import TSDiffPredictor  # noqa: E402
from tsdiff.baselines import train_baseline  # noqa: E402
from tsdiff.commands import anomaly, refine, synthesize  # noqa: E402
from tsdiff.commands.options import Anomaly, Refine, Synthesize  # noqa: E402
from tsdiff.scale import forecast  # noqa: E402

RNG = np.random.default_rng(0)
SOUND = RNG.standard_normal(16000) * 0.1
SERIES = [
    {"item_id": "a", "start": pd.Period("2024-01-01", "D"), "target": RNG.random(60).astype("f4")},
]


def error_of(call: Callable[[], object]) -> str:
    """What a call says that cannot be done here."""
    try:
        call()
    except DiffusionError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was refused"


def room() -> object:
    """One of 3 × 4 × 2.5 m."""
    return simulate(Room((3.0, 4.0, 2.5), 0.4, (1.0, 1.0, 1.0), (2.0, 2.0, 1.0)), 16000)


def folder() -> object:
    """One that only holds what another extra reads."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "talk.m4a").write_bytes(b"sound")
        return find_audio(Path(name))


def scaled() -> object:
    """A job on Ray."""
    with tempfile.TemporaryDirectory() as name:
        return forecast(SERIES, name, prediction_length=7, progress=False)


def imported() -> int:
    """How many modules there are; each can be imported."""
    names = [
        module.name
        for package in ("shared", "tsdiff", "speech")
        for module in pkgutil.walk_packages([package], f"{package}.")
        if not module.name.endswith("__main__")
    ]
    return len([import_module(name) for name in names])


def main() -> None:
    """Everything, told as JSON."""
    predictor = TSDiffPredictor.from_pretrained("default").adapted("D", 7)
    (forecast,) = predictor.predict(SERIES, num_samples=2)
    causal = Enhancer.from_pretrained("causal", device="cpu")
    told = {
        "modules": imported(),
        "forecast": forecast.samples.shape,
        "enhanced": causal.enhance(SOUND, 16000).shape,
        "si_sdr": metrics.si_sdr(SOUND, SOUND + 0.01 * RNG.standard_normal(16000), 16000),
        "errors": {
            "pesq": error_of(lambda: metrics.pesq_wb(SOUND, SOUND, 16000)),
            "pystoi": error_of(lambda: metrics.stoi(SOUND, SOUND, 16000)),
            "onnxruntime": error_of(lambda: metrics.dnsmos(SOUND, 16000)),
            "evaluate": error_of(lambda: metrics.evaluate(Path(), Path())),
            "opinion": error_of(lambda: chosen_metrics(None, noise=False, reference=False)),
            "train": error_of(lambda: Validation([("a", SOUND, SOUND)], Experiment())),
            "onnx": error_of(lambda: causal.export_onnx("never.onnx")),
            "runtime": error_of(lambda: causal.stream(16000, runtime="onnx")),
            "sounddevice": error_of(device_list),
            "pyroomacoustics": error_of(room),
            "sklearn": error_of(lambda: train_baseline("linear", SERIES, "D", 7)),
            "refine": error_of(lambda: refine.main(Refine())),
            "synthesize": error_of(lambda: synthesize.main(Synthesize())),
            "anomaly": error_of(lambda: anomaly.main(Anomaly())),
            "statsforecast": error_of(lambda: train_baseline("auto_ets", SERIES, "D", 7)),
            "av": error_of(lambda: write_audio("a.m4a", Audio(SOUND[None].astype("f4"), 16000))),
            "folder": error_of(folder),
            "loudness": error_of(lambda: LoudnessMeter(16000, 1)),
            "huggingface_hub": error_of(lambda: resolve("owner/name", Path("nowhere"))),
            "ray": error_of(scaled),
            "torch_pesq": error_of(lambda: SpeechObjective(ObjectiveConfig(loss="data_prediction", pesq_weight=1.0))),
        },
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
