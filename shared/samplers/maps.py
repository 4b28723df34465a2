"""Sampling with a flow map: every step of the grid is one jump, whatever its length."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from shared.checks import Checked
from shared.errors import ConfigError
from shared.samplers.exponential import step as exponential_step
from shared.samplers.run import Node, Run
from shared.samplers.schedules import inside_start


@dataclass(frozen=True)
class FlowMap(Checked):
    """Jumps along the grid with a flow map, a model that is told where a step leads (`shared.flow_maps`): one call a
    step, two or so steps. With other models there is no such step, and it is refused.

    Samples differ by the noise that they start with. A bridge ends in the anchor, without noise, from where a map could
    only give one result for all seeds: it would be a plain predictor of the mean. There the map starts a little before
    the end, from the anchor and noise; `boot=False` takes it as that predictor.

    Args:
        boot: whether to start before a bridge's end, with noise.
        denoise: end with one more data prediction.
    """

    boot: bool = True
    denoise: bool = False
    kind: Literal["flow_map"] = field(default="flow_map", repr=False)

    schedule = "uniform"
    """Where the steps lie unless told otherwise."""

    def __call__(self, run: Run) -> None:
        """Run over the grid.

        Raises:
            ConfigError: the model is no flow map, or the grid ends before the map starts.
        """
        nodes, x = run.single(), run.x
        start = inside_start(run.sde)
        if self.boot and nodes[0].sigma == 0 and nodes[0].t > start:
            inside = Node.at(run.sde, start)
            later = [node for node in nodes if node.t < start]
            if not later:
                raise ConfigError(f"steps down to t={nodes[-1].t}: a map of a bridge starts at {start}; end below it")
            x, nodes = x + inside.sigma * run.start_noise(), [inside, *later]
        for now, after in pairwise(nodes):
            mean = run.mean_residual(x, (now,), (after,))
            ahead = exponential_step(run, (now,), (after,), run.residual(x), [([now.log_snr], mean)], 0.0, None)
            x = run.finish_step(run.anchored(ahead), (now,), (after,))
        if self.denoise:
            run.denoise_final()
