"""Damaged and hostile models: how many of them are read, refused with an error of this toolkit, or do something else.

Model folders of both packages, and published checkpoints in both layouts, are changed by fixed seeds: bytes flipped,
cut or doubled; settings replaced by numbers, texts and lists of any size; tensors renamed, reshaped, repeated without
memory, or of another kind. Each is read, and what was read makes one network call, in a process of its own with a limit
on memory and time.

Example:
    python benchmarks/fuzz_models.py
"""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from safetensors.torch import load_file, save_file
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import header, table
from shared.files.checkpoint import CONFIG, WEIGHTS
from shared.files.io import atomic_path, write_text
from shared.files.pickles import load_pickle
from speech.importing import import_checkpoint as import_speech
from speech.model.backbones import LightConfig, NCSNppConfig
from speech.model.config import SpeechConfig
from speech.model.frontend import FrontEndConfig
from speech.model.model import SpeechModel
from tests.isolated import Outcome, outcome_of
from tests.speech.published import COMMON, OUVE, SMALL, random_weights, save_published, small_layout
from tests.tsdiff.published import published_state
from tsdiff.importing import import_checkpoint as import_series
from tsdiff.model.backbones import S4Config, S4DConfig
from tsdiff.model.config import TSDiffConfig
from tsdiff.model.model import TSDiff

RESULT = Path(__file__).parent / "results" / "fuzz_models.md"
MEGABYTES, SECONDS = 2048, 120.0
"""What a case may take beyond what the process has, and until it counts as a hang."""

HOSTILE: list[Any] = [
    *(0, -1, 1, 3, 10**5, 10**6, 2**22, 10**9, 2**40, 10**18, 10**30, -(10**9), 0.5, 1e300, float("inf"), float("nan")),
    *("", "x" * 5000, "none", "\udcff", "999999999h", None, True, False, [], {}, [0], [1] * 5000, [10**9], ["a"]),
    *([[]], [[1] * 50] * 50, {"kind": "s4"}, {"name": "vp"}, {"a": {"b": {"c": 1}}}),
]


# --- what is changed -----------------------------------------------------------------------------------------


def damaged_bytes(path: Path, rng: np.random.Generator, first: int, stop: int) -> None:
    """Flip, cut, drop or repeat bytes of a file between two places."""
    content = bytearray(path.read_bytes())
    stop = min(stop, len(content))
    place = int(rng.integers(min(first, stop - 1), stop))
    length = int(rng.integers(1, 64))
    kind = rng.integers(5)
    if kind == 0:
        for near in rng.integers(first, stop, size=int(rng.integers(1, 8))):
            content[int(near)] ^= int(rng.integers(1, 256))
    elif kind == 1:
        del content[place:]
    elif kind == 2:
        del content[place : place + length]
    elif kind == 3:
        content[place:place] = content[place : place + length]
    else:
        content[place : place + length] = rng.bytes(length)
    path.write_bytes(content)


def with_hostile_setting(values: Any, rng: np.random.Generator) -> None:
    """Replace, add or take away a setting at any depth."""
    while True:
        names = list(values) if isinstance(values, dict) else list(range(len(values)))
        if not names:
            return
        name = names[int(rng.integers(len(names)))]
        inner = values[name]
        if isinstance(inner, (dict, list)) and inner and rng.random() < 0.7:
            values = inner
            continue
        if isinstance(values, dict) and rng.random() < 0.1:
            del values[name]
        else:
            values[name] = HOSTILE[int(rng.integers(len(HOSTILE)))]
        return


def with_odd_tensor(state: dict[str, Any], rng: np.random.Generator, stored: bool) -> None:
    """Change a tensor, or its name; `stored` ones hold all of their numbers."""
    name = list(state)[int(rng.integers(len(state)))]
    value = state.pop(name)
    odd: list[Callable[[], Any]] = [
        lambda: value.flatten(),
        lambda: value.unsqueeze(0),
        lambda: torch.cat([value.reshape(-1), value.reshape(-1)]),
        lambda: torch.full_like(value, torch.nan) if value.is_floating_point() else -torch.ones_like(value),
        lambda: value.to(torch.complex64),
        lambda: value.to(torch.int64),
        lambda: value.to(torch.bool),
        lambda: torch.zeros(0),
        lambda: value.double() * 1e300,
    ]
    if not stored:
        odd += [
            lambda: torch.zeros(1).expand(10**6, 10**6),
            lambda: torch.zeros(1).expand(*(size * 1000 for size in value.shape)),
            lambda: value.float().to("meta"),
            lambda: value.float().reshape(-1, 1).to_sparse(),
            lambda: 10**9,
            lambda: "text" * 2000,
            lambda: {"a": value},
        ]
    kind = int(rng.integers(len(odd) + 2))
    if kind < len(odd):
        state[name] = odd[kind]().contiguous() if stored else odd[kind]()
    elif kind == len(odd):
        state[name + "x" * int(rng.integers(1, 5000))] = value


def damage_folder(folder: Path, rng: np.random.Generator) -> None:
    """Change a model folder; a setting is changed in both of its places."""
    weights, config = folder / WEIGHTS, folder / CONFIG
    kind = rng.integers(4)
    if kind == 0:
        size = int.from_bytes(weights.read_bytes()[:8], "little")
        damaged_bytes(weights, rng, 0, 8 + size if rng.random() < 0.7 else 1 << 30)
        if rng.random() < 0.3:
            damaged_bytes(config, rng, 0, 1 << 30)
        return
    state, values = load_file(weights), json.loads(config.read_text(encoding="utf-8"))
    if kind == 1:
        with_odd_tensor(state, rng, stored=True)
    else:
        for _ in range(int(rng.integers(1, 3))):
            with_hostile_setting(values, rng)
    text = json.dumps(values)
    save_file(state, weights, metadata={"config": text} if rng.random() < 0.9 else {})
    config.write_text(text, encoding="utf-8")


def damage_checkpoint(path: Path, rng: np.random.Generator) -> None:
    """Change a published checkpoint."""
    kind = rng.integers(4)
    if kind == 0:
        damaged_bytes(path, rng, 0, 12_000 if rng.random() < 0.7 else 1 << 30)
        return
    content = load_pickle(path, references=True)
    content["hyper_parameters"].pop("data_module_cls", None)  # a class of the published code, which is not here
    if kind == 1:
        with_odd_tensor(content["state_dict"], rng, stored=False)
    elif kind == 2 and "ema" in content and rng.random() < 0.3:
        average = dict(enumerate(content["ema"]["shadow_params"]))
        with_odd_tensor(average, rng, stored=False)
        content["ema"]["shadow_params"] = [average[name] for name in sorted(average, key=str)]
    else:
        for _ in range(int(rng.integers(1, 3))):
            with_hostile_setting(content["hyper_parameters"], rng)
    with atomic_path(path) as temporary:  # what was read is mapped into memory
        torch.save(content, temporary)
    if rng.random() < 0.1:
        pack(path)


def pack(path: Path) -> None:
    """The same archive, compressed, with a part that unpacks to much more."""
    with zipfile.ZipFile(path) as archive:
        parts = {part.filename: archive.read(part) for part in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
        archive.writestr("archive/data/999", bytes(64 << 20))


# --- what is read --------------------------------------------------------------------------------------------


def speech_folder(folder: Path, rng: np.random.Generator) -> None:
    frontend = FrontEndConfig(n_fft=62, hop_length=16)
    light = LightConfig(width=8, edge_width=4, blocks=2, dilations=(1, 2), mixed=2, mixing_width=8, embedding=8)
    large = NCSNppConfig(nf=4, ch_mult=(1, 1), num_res_blocks=1, image_size=32)
    SpeechModel(SpeechConfig(light if rng.random() < 0.6 else large, frontend)).save_pretrained(folder)


def series_folder(folder: Path, rng: np.random.Generator) -> None:
    small = S4DConfig(patch=8, width=8, blocks=2, state=4)
    published = S4Config(width=8, blocks=2, state=8, step_embedding=8)
    TSDiff(TSDiffConfig("h", 24, 40, backbone=small if rng.random() < 0.6 else published)).save_pretrained(folder)


def speech_checkpoint(folder: Path, rng: np.random.Generator) -> None:
    state, average = random_weights(small_layout(), 0), random_weights(small_layout(), 1)
    settings = {**COMMON, **OUVE, **SMALL, "backbone": "ncsnpp" if rng.random() < 0.5 else "ncsnpp_v2"}
    save_published(folder / "published.ckpt", state, list(average.values()), settings)


def series_checkpoint(folder: Path, rng: np.random.Generator) -> None:
    state = published_state(width=8, blocks=2, state=8, features=8, horizon=48)
    settings = {"freq": "H", "context_length": 24, "prediction_length": 24, "timesteps": 20, "use_features": False}
    settings |= {"normalization": "mean", "use_lags": False, "init_skip": False, "conjugates": False, "dropout": 0.0}
    torch.save({"state_dict": state, "hyper_parameters": settings}, folder / "published.ckpt")


def call(model: nn.Module) -> None:
    """One network call."""
    if isinstance(model, SpeechModel):
        frames = model.frame_multiple
        x, y = torch.zeros(2, 1, 1, model.config.frontend.frequencies, frames, dtype=torch.complex64)
        model(x, y, torch.full((1,), 0.5))
        return
    assert isinstance(model, TSDiff)
    inputs = model.denoiser.network.inputs
    assert isinstance(inputs.width, int)
    if not inputs.width:
        model(torch.zeros(1, model.config.length, model.config.network_channels), torch.full((1,), 0.5))


class Kind(NamedTuple):
    """A kind of model: what makes one, what damages it, what reads it."""

    make: Callable[[Path, np.random.Generator], None]
    damage: Callable[[Path, np.random.Generator], None]
    read: Callable[[Path], nn.Module]
    file: str


KINDS = {
    "speech folder": Kind(speech_folder, damage_folder, SpeechModel.from_pretrained, ""),
    "series folder": Kind(series_folder, damage_folder, TSDiff.from_pretrained, ""),
    "speech .ckpt": Kind(speech_checkpoint, damage_checkpoint, import_speech, "published.ckpt"),
    "series .ckpt": Kind(series_checkpoint, damage_checkpoint, import_series, "published.ckpt"),
}


def case(name: str, seed: int) -> Outcome:
    """Make a model, damage it, read it and call it."""
    kind, rng = KINDS[name], np.random.default_rng([seed, *name.encode()])
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        torch.manual_seed(seed)
        kind.make(folder, rng)
        kind.damage(folder / kind.file if kind.file else folder, rng)
        return outcome_of(_read, kind, folder / kind.file, seconds=SECONDS, megabytes=MEGABYTES)


def _read(kind: Kind, path: Path) -> None:
    with torch.no_grad():
        call(kind.read(path))


def main(
    folders: Annotated[int, typer.Option(help="Damaged folders of both packages together.", min=2)] = 300,
    checkpoints: Annotated[int, typer.Option(help="Damaged .ckpt of both layouts together.", min=2)] = 160,
) -> None:
    """Read damaged models, and write benchmarks/results/fuzz_models.md."""
    torch.set_num_threads(1)
    rows, bad = [], []
    for name in KINDS:
        count = (folders if "folder" in name else checkpoints) // 2
        found = [case(name, seed) for seed in range(count)]
        kinds = Counter(outcome.kind for outcome in found)
        bad += [
            f"{name} {seed}: {o.kind}: {o.what}" for seed, o in enumerate(found) if o.kind not in ("done", "refused")
        ]
        rows.append(
            [
                name,
                str(count),
                *(str(kinds[kind]) for kind in ("done", "refused", "uncaught", "died", "hang")),
                f"{max(outcome.cpu for outcome in found):.1f}",
                f"{max(outcome.megabytes for outcome in found):.0f}",
                str(max(len(outcome.what) for outcome in found)),
            ]
        )
        print(rows[-1], flush=True)
    print("\n".join(bad))
    head = ["kind", "cases", "read", "refused", "uncaught", "died", "hang", "most CPU-s", "most MB", "longest message"]
    text = f"{header('Damaged and hostile models')}\n{table(head, rows)}"
    write_text(RESULT, text)
    print(text)


if __name__ == "__main__":
    typer.run(main)
