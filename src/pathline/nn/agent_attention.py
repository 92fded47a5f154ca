"""Attention among agents that each see the scene from a frame of their own, and among several answers of each.

    AgentAttention    o_i = sum_j softmax_j(q_i . (k_j + r_ij) / sqrt d) (s_j + u_ij)     r, u linear in the pair (i, j)
    AgentBlock        h <- h + gate * f((1 + scale) LayerNorm(h) + shift)
                      f in turn: over the answers of an agent, over the agents of an answer, to the context, perceptron
Agents carry no index, so permuting them permutes the output; what a frame has to know of the others' frames comes with
the pairs. Tokens of agents who are not there are computed and never looked at.

Relative keys and values: Shaw, Uszkoreit, Vaswani, 2018, arXiv:1803.02155; the order of attentions: Fu et al., 2025,
"MoFlow", arXiv:2503.09950; modulation: Peebles, Xie, 2023, arXiv:2212.09748, but gates start at 1, as short trainings
want it: a fresh block is an ordinary one with the norm in front.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.nn.attention import MultiHeadAttention
from pathline.nn.mlp import MLP


class AgentAttention(nn.Module):
    """Agents look at agents, of the same answer or in the context.

    width: of the tokens, divisible by `heads`; pair_width: features of an ordered pair of agents
    """

    def __init__(self, width: int, heads: int, pair_width: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not divisible by {heads} heads")
        self.heads = heads
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.pair = nn.Linear(pair_width, 2 * width, bias=False)
        self.output = nn.Linear(width, width)

    def forward(self, h: Tensor, context: Tensor, pairs: Tensor, seen: Tensor) -> Tensor:
        """h: (batch, answers, agents, width); context: (batch, answers or 1, agents, width); pairs: (batch, agents,
        agents, pair_width), row i what i sees of j; seen: (batch, agents, agents) bool, whether i looks at j, true for
        some j -> the shape of h.
        """
        query, key, value = (
            tokens.unflatten(-1, (self.heads, -1))
            for tokens in (self.query(h), *self.key_value(context).chunk(2, dim=-1))
        )
        pair_key, pair_value = self.pair(pairs).unflatten(-1, (2 * self.heads, -1)).chunk(2, dim=-2)
        key, value = (tokens.expand(-1, h.shape[1], -1, -1, -1) for tokens in (key, value))
        scores = torch.einsum("bkihd,bkjhd->bkhij", query, key)
        scores = (scores + torch.einsum("bkihd,bijhd->bkhij", query, pair_key)) * key.shape[-1] ** -0.5
        scores = scores.masked_fill(~seen[:, None, None], float("-inf"))
        weights = scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(value.dtype)
        found = torch.einsum("bkhij,bkjhd->bkihd", weights, value)
        found = found + torch.einsum("bkhij,bijhd->bkihd", weights, pair_value)
        output: Tensor = self.output(found.flatten(-2))
        return output


class Modulation(nn.Module):
    """shift, scale and gate of `count` updates, linear in SiLU(condition), or learned constants without a condition."""

    def __init__(self, width: int, count: int, conditioned: bool) -> None:
        super().__init__()
        self.count = count
        start = torch.zeros(count, 3, width)
        start[:, 2] = 1.0
        self.constant = nn.Parameter(start.flatten())
        self.weight = nn.Parameter(torch.zeros(3 * count * width, width)) if conditioned else None

    def forward(self, condition: Tensor | None) -> tuple[Tensor, ...]:
        """condition: (batch, width) or None -> 3 count tensors that broadcast over (batch, answers, agents, width)."""
        if self.weight is None:
            return self.constant.chunk(3 * self.count)
        if condition is None:
            raise ValueError("this block was built for a condition, such as a time")
        return F.linear(F.silu(condition), self.weight, self.constant)[:, None, None].chunk(3 * self.count, dim=-1)

    @torch.no_grad()
    def freeze(self, other: "Modulation", condition: Tensor) -> None:
        """Start these constants from what `other` says for one condition (width,)."""
        assert other.weight is not None
        self.constant.copy_(F.linear(F.silu(condition), other.weight, other.constant))


class AgentBlock(nn.Module):
    """Attention over answers (if `answers`), over agents, to the context (if `context`), and a perceptron."""

    def __init__(
        self,
        width: int,
        heads: int,
        pair_width: int,
        answers: bool = False,
        context: bool = False,
        conditioned: bool = False,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.among_answers = MultiHeadAttention(width, heads) if answers else None
        self.among_agents = AgentAttention(width, heads, pair_width)
        self.to_context = AgentAttention(width, heads, pair_width) if context else None
        self.mlp = MLP((width, 2 * width, width), activation=nn.GELU)
        self.modulation = Modulation(width, 2 + answers + context, conditioned)
        if self.among_answers is not None:
            self.among_answers.use_math_attention = True

    def forward(
        self,
        h: Tensor,
        pairs: Tensor,
        seen: Tensor,
        context: Tensor | None = None,
        context_seen: Tensor | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        """h: (batch, answers, agents, width); context: (batch, 1, agents, width); see the parts."""
        modulation = iter(self.modulation(condition))

        def update(h: Tensor, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
            shift, scale, gate = next(modulation), next(modulation), next(modulation)
            normed = (1 + scale) * self.norm(h) + shift
            changed: Tensor = h + gate * function(normed, *inputs)
            return changed

        if self.among_answers is not None:
            h = update(h, self._over_answers)
        h = update(h, self._over_agents, pairs, seen)
        if self.to_context is not None:
            assert context is not None and context_seen is not None
            h = update(h, self.to_context, context, pairs, context_seen)
        return update(h, self.mlp)

    def _over_agents(self, h: Tensor, pairs: Tensor, seen: Tensor) -> Tensor:
        found: Tensor = self.among_agents(h, h, pairs, seen)
        return found

    def _over_answers(self, h: Tensor) -> Tensor:
        assert self.among_answers is not None
        batch = h.shape[0]
        found: Tensor = self.among_answers(h.transpose(1, 2).flatten(0, 1))
        return found.unflatten(0, (batch, -1)).transpose(1, 2)


class SceneEncoder(nn.Module):
    """What happened to each agent, and around it, as one token: (batch, agents, features) -> (batch, agents, width)."""

    def __init__(self, features: int, pair_width: int, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.lift = MLP((features, width, width))
        self.blocks = nn.ModuleList(AgentBlock(width, heads, pair_width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, history: Tensor, pairs: Tensor, seen: Tensor) -> Tensor:
        """history: (batch, agents, features), each in the agent's frame; pairs, seen: see `AgentAttention`."""
        h = self.lift(history)[:, None]
        for block in self.blocks:
            h = block(h, pairs, seen)
        encoded: Tensor = self.norm(h)[:, 0]
        return encoded


def who_sees_whom(present: Tensor, joint: bool = True) -> Tensor:
    """(batch, agents) bool -> (batch, agents, agents): everybody sees who is there, and always oneself (so that the
    softmax of an absent agent is defined); with joint=False oneself only."""
    alone = torch.eye(present.shape[1], dtype=torch.bool, device=present.device)
    if not joint:
        return alone.expand(len(present), -1, -1)
    return present[:, None] | alone
