"""A memory written in batches against messages that are made and applied one node after the other."""

import pytest
import torch

from pathline.nn.node_memory import NodeMemory
from pathline.nn.temporal_attention import TemporalAttention, _Attend
from pathline.nn.time_encoding import NodeEncoding, OneHotNode, TimeEncoding


def reference(memory: NodeMemory, batches):
    """Memories after all messages, with Python lists."""
    nodes, width = memory.memory.shape
    state, last = [torch.zeros(width) for _ in range(nodes)], [-1.0] * nodes
    for source, target, time, event in batches:
        due: dict[int, list[torch.Tensor]] = {}
        for u, v, t, e in zip(source.tolist(), target.tolist(), time.tolist(), event, strict=True):
            for me, other, row in ((u, v, 0), (v, u, 1)):
                passed = t - last[me] if last[me] >= 0 else 0.0
                parts = [state[me], state[other], e, memory.time(torch.tensor(passed))]
                if memory.identify is not None:
                    parts += [memory.identify(torch.tensor(u)), memory.identify(torch.tensor(v))]
                message = (memory.from_source, memory.from_target)[row]
                due.setdefault(me, []).append(message(torch.cat(parts)))
        for t, u, v in zip(time.tolist(), source.tolist(), target.tolist(), strict=True):
            last[u], last[v] = max(last[u], t), max(last[v], t)
        new = {me: memory.update(torch.stack(some[-memory.kept :]).mean(0), state[me]) for me, some in due.items()}
        for me, what in new.items():
            state[me] = what
    return torch.stack(state)


@pytest.mark.parametrize("hold", [True, False])
@pytest.mark.parametrize("kept", [1, 8])
@pytest.mark.parametrize("identify", [None, "cosine", "onehot"])
def test_batches_of_messages_equal_a_loop(kept, identify, hold):
    torch.manual_seed(0)
    encoding = {None: None, "cosine": NodeEncoding(6, 5), "onehot": OneHotNode(6)}[identify]
    memory = NodeMemory(6, 4, 2, TimeEncoding(3), encoding, {None: 0, "cosine": 5, "onehot": 6}[identify], kept, hold)
    memory.reset()
    generator = torch.Generator().manual_seed(1)
    batches = []
    for k in range(5):
        source = torch.randint(0, 6, (7,), generator=generator)
        target = (source + torch.randint(1, 6, (7,), generator=generator)) % 6
        time = 10.0 * k + torch.rand(7, generator=generator, dtype=torch.float64).sort().values
        batches.append((source, target, time, torch.randn(7, 2, generator=generator)))
        memory.observe(*batches[-1])
        with torch.no_grad():
            now, again = memory.read(torch.arange(6)), memory.read(torch.arange(6))
            assert torch.equal(now, again)
            assert torch.allclose(now, reference(memory, batches), atol=1e-6)


def test_the_loss_of_a_later_batch_reaches_the_message_and_the_update():
    torch.manual_seed(0)
    memory = NodeMemory(4, 3, 1, TimeEncoding(2), NodeEncoding(4, 2), 2)
    memory.reset()
    memory.observe(torch.tensor([0]), torch.tensor([1]), torch.tensor([1.0]).double(), torch.ones(1, 1))
    memory.observe(torch.tensor([0]), torch.tensor([2]), torch.tensor([3.0]).double(), torch.ones(1, 1))
    memory.read(torch.arange(4)).square().sum().backward()
    for name, parameter in memory.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 0), name


def test_attention_without_neighbours_is_the_skip_and_padding_is_not_seen():
    torch.manual_seed(0)
    attention = TemporalAttention(4, 3, 6, dropout=0.0)
    own, near, edges = torch.randn(2, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 3)
    exists = torch.tensor([[True, True, False, False, False], [False] * 5])
    torch.nn.init.normal_(attention.bias)
    out = attention(own, torch.cat([near, edges], -1), exists)
    assert torch.allclose(out[1], attention.skip(own[1]))
    both = torch.cat([near, edges], -1)[0, :2]
    assert torch.allclose(out[0], attention(own[:1], both[None], exists[:1, :2])[0], atol=1e-6)
    heads = []
    for head in range(2):  # keys and values made one by one
        key, value = both @ attention.key[head].T, both @ attention.value[head].T
        weight = (key @ attention.query(own[0]).view(2, 3)[head] / 3**0.5).softmax(0)
        heads.append(weight @ value)
    assert torch.allclose(out[0], attention.skip(own[0]) + torch.cat(heads) + attention.bias, atol=1e-5)


def test_the_gradient_of_attention_is_that_of_its_formula():
    """Against finite differences, with slots that are empty, a node without any, and weights that are dropped."""
    torch.manual_seed(0)
    exists = torch.tensor([[True, True, False], [True, True, True], [False, False, False]])
    asked, near = torch.randn(3, 2, 4, dtype=torch.float64), torch.randn(3, 3, 4, dtype=torch.float64)
    kept = exists[:, None] * torch.tensor([[[2.0, 0.0, 2.0], [2.0, 2.0, 0.0]]], dtype=torch.float64)
    inputs = (asked.requires_grad_(), near.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, x: _Attend.apply(a, x, exists, kept), inputs)
    assert not _Attend.apply(asked, near, exists, kept)[2].any()


def test_encodings_tell_all_nodes_and_times_apart():
    torch.manual_seed(0)
    codes = NodeEncoding(500, 16)(torch.arange(500)).detach()
    distance = torch.cdist(codes, codes) + 10 * torch.eye(500)
    assert float(distance.min()) > 1e-2  # raw numbers in the cosine would come close to one another
    times = TimeEncoding(8)(torch.tensor([0.0, 1.0, 10.0, 1e4, 1e8], dtype=torch.float64)).detach()
    assert float((torch.cdist(times, times) + torch.eye(5)).min()) > 1e-2 and bool((times[0] == 1).all())
