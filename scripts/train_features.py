"""Train the fixed classifiers whose features measure generated images.

    python scripts/train_features.py      about 3 minutes on one core; writes pathline/generate/*-features.safetensors

Each classifier sees the training part of `load(key).split(SPLIT_SEED)` and nothing else; its accuracy is measured on
the test part. "fashion-mnist" comes from the Debian package dataset-fashion-mnist. Seeds and the number of threads are
fixed, so the same machine writes the same files.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from pathline.data.sets import load
from pathline.generate.features import SPLIT_SEED, FeatureNet

TARGET = Path(__file__).parents[1] / "src/pathline/generate"
NOISE = 0.05  # of the range, added in training: features must not hang on single pixel values
BATCH = 128


def train(key: str, file: str, epochs: int) -> None:
    """Train, standardise the features, save, and print the accuracy."""
    data = load(key)
    low, high = data.bounds

    def unit(values: Tensor) -> Tensor:
        return (values - low) / (high - low)

    parts = data.split(SPLIT_SEED)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    net = FeatureNet(data.shape[-1])
    steps = epochs * -(-len(parts.train) // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps)
    for _ in range(epochs):
        for batch in parts.train.batches(BATCH, generator):
            images = unit(batch.values)
            noisy = images + NOISE * torch.randn(images.shape, generator=generator)
            loss = F.cross_entropy(net.logits(noisy), batch.labels, label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        raw = torch.cat([net(part) for part in unit(parts.train.values).split(2048)])
        net.shift.copy_(raw.mean(0))
        net.scale.copy_(raw.std(0))
        guesses = torch.cat([net.logits(part).argmax(1) for part in unit(parts.test.values).split(2048)])
    accuracy = (guesses == parts.test.labels).float().mean().item()
    save_file(net.state_dict(), TARGET / file, metadata={"accuracy": f"{accuracy:.4f}"})
    print(f"{key}: {len(parts.train)} training images, accuracy {accuracy:.4f} on {len(parts.test)} others", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    train("digits", "digits-features.safetensors", epochs=60)
    train("fashion-mnist", "fashion-features.safetensors", epochs=6)
