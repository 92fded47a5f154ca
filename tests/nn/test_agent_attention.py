"""Attention among agents: what is absent is not seen, order does not matter, pairs do."""

import pytest
import torch

from pathline.nn import AgentAttention, AgentBlock, SceneEncoder, who_sees_whom

BATCH, ANSWERS, AGENTS, WIDTH, PAIR = 3, 4, 5, 16, 6


def inputs(seed=0):
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(BATCH, ANSWERS, AGENTS, WIDTH, generator=generator)
    pairs = torch.randn(BATCH, AGENTS, AGENTS, PAIR, generator=generator)
    present = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], dtype=torch.bool)
    return h, pairs, present


def block(**config):
    torch.manual_seed(0)
    made = AgentBlock(WIDTH, 4, PAIR, **config)
    if config.get("conditioned"):
        torch.nn.init.normal_(made.modulation.weight, std=0.1)
    return made


def run(made, h, pairs, present, context, condition):
    seen = who_sees_whom(present)
    return made(h, pairs, seen, context[:, :1], seen, condition)


def test_attention_is_the_formula_agent_by_agent():
    torch.manual_seed(0)
    layer = AgentAttention(WIDTH, 2, PAIR)
    h, pairs, present = inputs()
    found = layer(h, h, pairs, who_sees_whom(present))
    query, (key, value) = layer.query(h), layer.key_value(h).chunk(2, -1)
    pair_key, pair_value = layer.pair(pairs).chunk(2, -1)
    scene, answer, agent = 1, 2, 0
    parts = []
    for head in (slice(0, 8), slice(8, 16)):
        scores = torch.stack(
            [
                query[scene, answer, agent, head] @ (key[scene, answer, j, head] + pair_key[scene, agent, j, head])
                for j in range(3)
            ]
        )
        weights = (scores / 8**0.5).softmax(0)
        parts.append(
            sum(weights[j] * (value[scene, answer, j, head] + pair_value[scene, agent, j, head]) for j in range(3))
        )
    assert torch.allclose(found[scene, answer, agent], layer.output(torch.cat(parts)), atol=1e-5)


def test_permuting_agents_permutes_the_output():
    made, (h, pairs, present) = block(answers=True, context=True, conditioned=True), inputs()
    context, condition = inputs(1)[0], torch.randn(BATCH, WIDTH)
    order = torch.randperm(AGENTS, generator=torch.Generator().manual_seed(2))
    plain = run(made, h, pairs, present, context, condition)
    moved = run(made, h[:, :, order], pairs[:, order][:, :, order], present[:, order], context[:, :, order], condition)
    assert torch.allclose(plain[:, :, order], moved, atol=1e-5)


def test_absent_agents_are_never_seen_but_present_ones_are():
    made, (h, pairs, present) = block(answers=True, context=True, conditioned=True), inputs()
    context, condition = inputs(1)[0], torch.randn(BATCH, WIDTH)
    absent = ~present[:, None, :, None]
    plain = run(made, h, pairs, present, context, condition)
    noisy = run(made, h + 100 * absent, pairs, present, context + 100 * absent, condition)
    assert torch.allclose(plain.masked_fill(absent, 0), noisy.masked_fill(absent, 0), atol=1e-5)
    changed = h.clone()
    changed[:, :, 1, 0] += 1.0
    other = run(made, changed, pairs, present, context, condition)
    assert (other - plain)[0, :, 0].abs().max() > 1e-3 and (other - plain)[2, :, 0].abs().max() < 1e-5


def test_answers_see_each_other_only_where_they_should():
    h, pairs, present = inputs()
    context, condition = inputs(1)[0], torch.randn(BATCH, WIDTH)
    changed = h.clone()
    changed[:, 0, :, 0] += 1.0
    for answers in (True, False):
        made = block(answers=answers, context=True, conditioned=True)
        gap = run(made, changed, pairs, present, context, condition) - run(made, h, pairs, present, context, condition)
        assert gap[:, 1:].abs().max() > 1e-3 if answers else gap[:, 1:].abs().max() < 1e-5


def test_alone_nobody_sees_anybody():
    made, (h, pairs, present) = block(), inputs()
    changed = h.clone()
    changed[:, :, 1, 0] += 1.0
    alone = who_sees_whom(present, joint=False)
    gap = made(changed, pairs, alone) - made(h, pairs, alone)
    assert gap[:, :, [0, 2, 3, 4]].abs().max() < 1e-5 and gap[:, :, 1].abs().max() > 0.1


def test_constants_can_start_where_a_condition_left_off():
    conditioned, constant = block(conditioned=True), block()
    condition = torch.randn(WIDTH)
    state = {name: tensor for name, tensor in conditioned.state_dict().items() if name != "modulation.weight"}
    constant.load_state_dict(state)
    h, pairs, present = inputs()
    seen = who_sees_whom(present)
    expected = conditioned(h, pairs, seen, condition=condition.expand(BATCH, -1))
    assert not torch.allclose(constant(h, pairs, seen), expected, atol=1e-3)
    constant.modulation.freeze(conditioned.modulation, condition)
    assert torch.allclose(constant(h, pairs, seen), expected, atol=1e-5)
    with pytest.raises(ValueError, match="built for a condition"):
        conditioned(h, pairs, seen)


def test_the_encoder_tells_an_agent_about_its_neighbours():
    torch.manual_seed(0)
    encoder = SceneEncoder(7, PAIR, WIDTH, 4, depth=1)
    history, (_, pairs, present) = torch.randn(BATCH, AGENTS, 7), inputs()
    plain = encoder(history, pairs, who_sees_whom(present))
    history[:, 1] += 1
    other = encoder(history, pairs, who_sees_whom(present))
    assert (plain - other)[0, 0].abs().max() > 1e-3 and (plain - other)[2, 0].abs().max() < 1e-5
