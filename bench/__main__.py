"""`python -m bench [PAIR ...]`: measure pathline beside its peers, print the ratios, write bench/results.json."""

import importlib
import os
import sys

import torch

from bench.side_by_side import table, write

PAIRS = (
    "torchcfm",
    "flow_matching",
    "torchgfn",
    "egnn_pytorch",
    "pyg_meshgraphnet",
    "pyg_temporal",
    "torchvision_raft",
    "seisbench",
    "recbole",
    "networkx",
    "graphriccicurvature",
    "pyg_gcn",
    "pyg_tgn",
)


def main(asked: list[str]) -> int:
    """Measure the asked pairs, or all; 2 if one is unknown."""
    unknown = sorted(set(asked) - set(PAIRS))
    if unknown:
        print(f"there is no pair '{unknown[0]}'; choose among {', '.join(PAIRS)}", file=sys.stderr)
        return 2
    torch.set_num_threads(int(os.environ.get("BENCH_THREADS", os.cpu_count() or 1)))
    for name in asked or PAIRS:
        pair = importlib.import_module(f"bench.against_{name}")
        where, lines = pair.measure()
        write(name, where, lines)
        print(f"{name}: {where['processor']}, {where['threads']} threads, {where['versions']}")
        print(table(lines), end="\n\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
