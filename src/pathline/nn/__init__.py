"""Networks that know no task.

Every velocity network (`ResidualMLP`, `UNet`, `DiT`) is called net(x, t, r=None, label=None) with
x: (batch, *shape), times t and r: (batch,), label: (batch,) int64 in 0 .. num_classes, where num_classes is
the null class of guidance.
"""

from pathline.nn.agent_attention import AgentAttention, AgentBlock, SceneEncoder, who_sees_whom
from pathline.nn.attention import MultiHeadAttention, math_attention, set_math_attention
from pathline.nn.decomposition import Decomposition
from pathline.nn.dit import DiT
from pathline.nn.embeddings import Conditioning, TimeEmbedding, sinusoidal_embedding
from pathline.nn.equivariant import EGCL, EquivariantNetwork
from pathline.nn.graph_network import EdgeSet, GraphNetwork, edge_set
from pathline.nn.invertible import (
    Affine,
    BoxToSpace,
    Coupling,
    Invertible,
    InvertibleSequence,
    LipSwish,
    Residual,
    Rotation,
    ShallowResidual,
    SpaceToBox,
    Stretch,
    SumOfSigmoids,
    jacobian_of,
)
from pathline.nn.mlp import MLP, ResidualMLP
from pathline.nn.nodewise import NodewiseLinear
from pathline.nn.normalizer import Normalizer
from pathline.nn.principal_components import PrincipalComponents
from pathline.nn.unet import UNet
from pathline.nn.unet1d import UNet1d

__all__ = [
    "EGCL",
    "MLP",
    "Affine",
    "AgentAttention",
    "AgentBlock",
    "BoxToSpace",
    "Conditioning",
    "Coupling",
    "Decomposition",
    "DiT",
    "EdgeSet",
    "EquivariantNetwork",
    "GraphNetwork",
    "Invertible",
    "InvertibleSequence",
    "LipSwish",
    "MultiHeadAttention",
    "NodewiseLinear",
    "Normalizer",
    "PrincipalComponents",
    "Residual",
    "ResidualMLP",
    "Rotation",
    "SceneEncoder",
    "ShallowResidual",
    "SpaceToBox",
    "Stretch",
    "SumOfSigmoids",
    "TimeEmbedding",
    "UNet",
    "UNet1d",
    "edge_set",
    "jacobian_of",
    "math_attention",
    "set_math_attention",
    "sinusoidal_embedding",
    "who_sees_whom",
]
