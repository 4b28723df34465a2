"""What the weights of the published networks are called, in the order in which that code registers them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from speech.model.backbones.dcunet import (
    ComplexBatchNorm,
    ComplexConv,
    ComplexConvTranspose,
    ComplexLinear,
    DCUNet,
    PartsBatchNorm,
)
from speech.model.backbones.ncsnpp import DownLevel, NCSNpp, Readout, UpLevel
from speech.model.backbones.ncsnpp_layers import Attention, Resample, ResidualBlock

_ATTENTION = ("query", "key", "value", "output")


@dataclass(frozen=True)
class Weight:
    """One tensor of a published state dict.

    Attributes:
        published: its name there.
        name: ours.
        trained: a parameter there (frozen ones too), not a buffer.
        frozen: a parameter without gradient.
        transposed: kept there as (inputs, outputs).
        row: of our tensor, where it is only one row of it.
    """

    published: str
    name: str
    trained: bool = True
    frozen: bool = False
    transposed: bool = False
    row: int | None = None

    def put(self, target: Tensor, value: Tensor) -> None:
        """Write the published value into ours; shapes are those of `shape`."""
        target = target if self.row is None else target[self.row]
        target.copy_((value.T if self.transposed else value).reshape(target.shape))

    def shape(self, target: Tensor) -> tuple[int, ...]:
        """The published shape."""
        shape = tuple(target.shape if self.row is None else target.shape[1:])
        return (shape[1], shape[0]) if self.transposed else shape


def published_weights(network: NCSNpp | DCUNet) -> list[Weight]:
    """All tensors of the published network that has the settings of `network`, in the order of its parameters."""
    return list(_ncsnpp(network) if isinstance(network, NCSNpp) else _dcunet(network))


def _pair(published: str, name: str) -> Iterator[Weight]:
    for part in ("weight", "bias"):
        yield Weight(f"{published}.{part}", f"{name}.{part}")


def _transposed(published: str, name: str) -> Iterator[Weight]:
    yield Weight(f"{published}.W", f"{name}.weight", transposed=True)
    yield Weight(f"{published}.b", f"{name}.bias")


def _ncsnpp(network: NCSNpp) -> Iterator[Weight]:
    yield from _pair("output_layer", "output")
    yield Weight("all_modules.0.W", "time.frequencies", frozen=True)
    names = {id(module): name for name, module in network.named_modules()}
    modules: list[nn.Module] = [network.time.expand, network.time.mix, network.input]
    for level in network.down:
        assert isinstance(level, DownLevel)
        for i, block in enumerate(level.blocks):
            modules += [block, *level.attention[i : i + 1]]
        modules += [module for module in (level.resample, level.pyramid) if module is not None]
    modules += network.middle
    joins = [level.pyramid for level in network.down]
    for level in network.up:
        assert isinstance(level, UpLevel)
        modules += [*level.blocks, *_present(level.attention), *_parts(level.pyramid), *_present(level.resample)]
    modules += _parts(network.readout)
    for i, module in enumerate(modules, start=1):
        published, name = f"all_modules.{i}", names[id(module)]
        if isinstance(module, ResidualBlock):
            yield from _residual_block(module, published, name, network.config.resblock_type)
        elif isinstance(module, Attention):
            yield from _pair(f"{published}.GroupNorm_0", f"{name}.norm")
            for k, part in enumerate(_ATTENTION):
                yield from _transposed(f"{published}.NIN_{k}", f"{name}.{part}")
        elif isinstance(module, Resample):
            inner = "Conv_0" if module.taps is None else "Conv2d_0"
            yield from _pair(f"{published}.{inner}", f"{name}.conv") if module.conv is not None else ()
        elif any(module is join for join in joins):
            yield from _pair(f"{published}.Conv_0", name)
        else:
            yield from _pair(published, name)


def _present(module: nn.Module | None) -> list[nn.Module]:
    return [] if module is None else [module]


def _parts(module: nn.Module | None) -> list[nn.Module]:
    return [module.norm, module.conv] if isinstance(module, Readout) else _present(module)


def _residual_block(block: ResidualBlock, published: str, name: str, kind: str) -> Iterator[Weight]:
    yield from _pair(f"{published}.GroupNorm_0", f"{name}.norm1")
    yield from _pair(f"{published}.Conv_0", f"{name}.conv1")
    yield from _pair(f"{published}.Dense_0", f"{name}.time")
    yield from _pair(f"{published}.GroupNorm_1", f"{name}.norm2")
    yield from _pair(f"{published}.Conv_1", f"{name}.conv2")
    if block.shortcut is not None and kind == "ddpm":
        yield from _transposed(f"{published}.NIN_0", f"{name}.shortcut")
    elif block.shortcut is not None:
        yield from _pair(f"{published}.Conv_2", f"{name}.shortcut")


def _dcunet(network: DCUNet) -> Iterator[Weight]:
    if network.features is not None and network.features.frequencies is not None:
        yield Weight("embed.0.W", "features.frequencies", frozen=True)
    for i, layer in enumerate(network.time):
        yield from _complex(layer, f"embed.{2 * i + 1}", f"time.{i}")
    for ours, theirs, conv in (("down", "encoders", "conv"), ("up", "decoders", "deconv")):
        for i, block in enumerate(getattr(network, ours)):
            published, name = f"{theirs}.{i}", f"{ours}.{i}"
            yield from _complex(block.conv, f"{published}.{conv}", f"{name}.conv")
            yield from _complex(block.norm, f"{published}.norm", f"{name}.norm")
            for k, layer in enumerate(block.time):
                inner = ".dense" if k == len(block.time) - 1 else ""
                yield from _complex(layer, f"{published}.embed_layer.{2 * k}{inner}", f"{name}.time.{k}")
    yield from _complex(network.output, "output_layer", "output")


def _complex(module: nn.Module, published: str, name: str) -> Iterator[Weight]:
    if isinstance(module, ComplexBatchNorm):
        for i, part in enumerate(("Wrr", "Wri", "Wii")):
            yield Weight(f"{published}.{part}", f"{name}.weight", row=i)
        for i, part in enumerate(("Br", "Bi")):
            yield Weight(f"{published}.{part}", f"{name}.bias", row=i)
        return
    suffix = "" if isinstance(module, ComplexLinear) else "_module"
    assert isinstance(module, ComplexLinear | ComplexConv | ComplexConvTranspose | PartsBatchNorm)
    for theirs, ours in (("re", "real"), ("im", "imaginary")):
        part = getattr(module, ours)
        trained = {key for key, _ in part.named_parameters()}
        for key in part.state_dict():
            yield Weight(f"{published}.{theirs}{suffix}.{key}", f"{name}.{ours}.{key}", trained=key in trained)
