"""A language model whose words are the nodes of a graph: neighbours mean alike.

    graph: each word joined to its k nearest by the cosine of word vectors (k = 4)
    e_t = one-hot signal of word t,   z_t = ReLU(w * e_t) at every node,   LSTM over all nodes' features,   softmax
Seo, Defferrard, Vandergheynst, Bresson, 2016, arXiv:1612.07659, section 5.2: their model 1 on Penn Treebank. `w *` is a
Chebyshev filter (`nn.chebyshev`): w * e_t spreads a word over the words that are like it. Quality is perplexity,
exp of the mean cross-entropy per word.
Departs: w * e_t is looked up as rows of T_k(L), which is the same and needs no product.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pathline.graph.adjacency import dense_adjacency, scaled_laplacian
from pathline.graph.build import knn_graph
from pathline.nn.chebyshev import chebyshev_terms
from pathline.nn.graph_recurrent import remembering


def word_graph(vectors: Tensor, neighbours: int = 4) -> Tensor:
    """(words, words) symmetric cosines between each word and its nearest, where positive; vectors: (words, size)."""
    unit = F.normalize(vectors, dim=1)
    edges = knn_graph(unit, neighbours)
    cosine = (unit[edges[0]] * unit[edges[1]]).sum(1).clamp(min=0)
    near = dense_adjacency(edges, len(vectors), cosine)
    return torch.maximum(near, near.T)


def cooccurrence_vectors(words: Tensor, vocabulary: int, size: int = 16, window: int = 2) -> Tensor:
    """(vocabulary, size) word vectors from text: singular vectors of positive pointwise mutual information.

    words: (length,) int64;  window: how far apart two words count as seen together. Levy, Goldberg, 2014, NeurIPS.
    """
    count = torch.zeros(vocabulary * vocabulary, dtype=torch.float64)
    for apart in range(1, window + 1):
        pair = words[:-apart] * vocabulary + words[apart:]
        count += torch.bincount(pair, minlength=len(count)).double()
    together = count.view(vocabulary, vocabulary)
    together = together + together.T
    alone = together.sum(1).clamp(min=1e-12)
    information = (together * together.sum() / (alone[:, None] * alone)).clamp(min=1e-12).log().clamp(min=0)
    left, value, _ = torch.linalg.svd(information)
    return (left * value.sqrt())[:, :size].float()


class GraphWords(nn.Module):
    """(batch, time) int64 words -> (batch, time, words) logits of the next one.

    features: of each node;  width: of the LSTM;  coefficients: K; 1 sees no graph
    """

    terms: Tensor

    def __init__(self, adjacency: Tensor, features: int = 2, width: int = 64, coefficients: int = 3) -> None:
        super().__init__()
        words, eye = len(adjacency), torch.eye(len(adjacency))
        terms = torch.stack(chebyshev_terms(scaled_laplacian(adjacency), eye, coefficients), -1)
        self.register_buffer("terms", terms.transpose(0, 1).contiguous())  # (word, node, K): T_k(L) e_word
        bound = coefficients**-0.5
        self.weight = nn.Parameter(torch.empty(coefficients, features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.full((features,), 0.01))
        self.cell = nn.LSTM(words * features, width, batch_first=True)
        remembering(self.cell)
        self.output = nn.Linear(width, words)

    def forward(self, words: Tensor) -> Tensor:
        z = (self.terms[words] @ self.weight + self.bias).relu().flatten(2)
        logits: Tensor = self.output(self.cell(z)[0])
        return logits

    def loss(self, words: Tensor) -> Tensor:
        """Mean cross-entropy of every word but the first, given those before it; words: (batch, time)."""
        return F.cross_entropy(self(words[:, :-1]).flatten(0, 1), words[:, 1:].flatten())

    @torch.no_grad()
    def perplexity(self, words: Tensor) -> float:
        return float(self.loss(words).exp())
