"""The network that trackers of several agents share: an encoder of the past, and a decoder whose tokens are (answer,
agent).

    C = encoder(histories, pairs)                                          (batch, agents, width)
    h_ka = lift(y_ka) + query_k + join(C_a)        then blocks: over answers, over agents, to C, perceptron
    output_ka = head(h_ka),   score_ka = judge(h_ka)
y is what the answer is made of: noisy futures, noisy coefficients, one latent for the whole scene, or nothing. A time
or noise level modulates the blocks (adaptive layer norm).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pathline.nn.agent_attention import AgentBlock, SceneEncoder, who_sees_whom
from pathline.nn.dit import zero_linear
from pathline.nn.embeddings import TimeEmbedding
from pathline.nn.mlp import MLP
from pathline.track.scene import Scene, history_features, pair_features


@dataclass(frozen=True)
class Context:
    """tokens: (batch, 1, agents, width); pairs: (batch, agents, agents, width); present: (batch, agents)."""

    tokens: Tensor
    pairs: Tensor
    present: Tensor

    def repeated(self, times: int) -> "Context":
        """Every scene `times` in a row."""
        parts = (self.tokens, self.pairs, self.present)
        return Context(*(part.repeat_interleave(times, 0) for part in parts))


class AgentNetwork(nn.Module):
    """inputs: numbers of y per token, 0 for none; outputs: numbers per token
    answers:     K; with 1 there is neither a query nor attention over answers
    conditioned: whether there is a time
    joint:       whether agents of an answer see each other; they see each other's past in any case
    scored:      whether there is a judge; judge_apart: it learns without moving the answers
    mixes_answers: whether answers see each other; by default where there are several
    """

    def __init__(
        self,
        history: int,
        dims: int,
        inputs: int,
        outputs: int,
        answers: int = 1,
        width: int = 64,
        heads: int = 4,
        encoder_depth: int = 2,
        depth: int = 2,
        conditioned: bool = True,
        joint: bool = True,
        scored: bool = True,
        judge_apart: bool = False,
        mixes_answers: bool | None = None,
    ) -> None:
        super().__init__()
        self.joint, self.judge_apart = joint, judge_apart
        mixes = answers > 1 if mixes_answers is None else mixes_answers
        self.pair_lift = MLP((pair_features(dims), width, width), final_activation=True)
        self.encoder = SceneEncoder(history_features(history, dims), width, width, heads, encoder_depth)
        self.lift = MLP((inputs, width, width)) if inputs else None
        self.query = nn.Parameter(torch.randn(answers, width)) if answers > 1 else None
        self.join = nn.Linear(width, width)
        self.time = TimeEmbedding(width) if conditioned else None
        self.blocks = nn.ModuleList(
            AgentBlock(width, heads, width, mixes, context=True, conditioned=conditioned) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Sequential(nn.Linear(width, width), nn.SiLU(), zero_linear(width, outputs))
        self.judge = MLP((width, width, 1)) if scored else None

    def encode(self, scene: Scene) -> Context:
        """The past, once for any number of calls of `forward`."""
        pairs = self.pair_lift(scene.pairs)
        tokens = self.encoder(scene.history, pairs, who_sees_whom(scene.present))
        return Context(tokens[:, None], pairs, scene.present)

    def forward(
        self,
        context: Context,
        y: Tensor | None = None,
        t: Tensor | None = None,
        present: Tensor | None = None,
        hidden: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Outputs (batch, K, agents, outputs) and scores (batch, K, agents), or None without a judge.

        y:       (batch, K or 1, agents or 1, inputs); t: (batch,)
        present: (batch, agents) whose futures there are; by default those of everybody who was seen last
        hidden:  (batch,) bool, where y is not shown
        """
        h = self.join(context.tokens)
        if self.lift is not None:
            assert y is not None
            shown = self.lift(y)
            h = h + (shown if hidden is None else shown.masked_fill(hidden[:, None, None, None], 0.0))
        h = h + (0 if self.query is None else self.query[:, None])
        condition = None if self.time is None or t is None else self.time(t)
        seen = who_sees_whom(context.present if present is None else present, self.joint)
        past_seen = who_sees_whom(context.present)
        for block in self.blocks:
            h = block(h, context.pairs, seen, context.tokens, past_seen, condition)
        h = self.norm(h)
        if self.judge is None:
            return self.head(h), None
        return self.head(h), self.judge(h.detach() if self.judge_apart else h)[..., 0]

    @torch.no_grad()
    def start_from(self, other: "AgentNetwork", condition: Tensor | None = None) -> None:
        """Take over the weights of a network of the same sizes, where there is a counterpart of the same shape.

        condition: (width,); a network without a condition starts with the modulation that `other` has for this one
        """
        mine, theirs = self.state_dict(), other.state_dict()
        shared = {
            name: theirs[name] for name, tensor in mine.items() if name in theirs and tensor.shape == theirs[name].shape
        }
        self.load_state_dict(mine | shared)
        if condition is not None and self.time is None:
            for block, its in zip(self.blocks, other.blocks, strict=True):
                assert isinstance(block, AgentBlock) and isinstance(its, AgentBlock)
                block.modulation.freeze(its.modulation, condition)
