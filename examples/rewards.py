"""Build objects in proportion to a reward of your own: any function of a batch of them.

    python examples/rewards.py [steps]

The objects are words of up to six letters a, b and c, and a word is the better the more "abc" it holds. A sampler that
balances flows learns to write words with probability in proportion to that, not to repeat the best one.
"""

import sys

import torch
from torch import Tensor

import pathline as pl
from pathline.sims.environments import Strings


def reward(letters: Tensor) -> Tensor:
    """1 + 9 for each "abc" in a word. letters: (n, 6) int64, 1 .. 3 for a .. c and 0 beyond the end -> (n,)."""
    windows = letters.unfold(1, 3, 1)
    return 1 + 9 * (windows == torch.tensor([1, 2, 3])).all(-1).sum(-1)


def main(steps: int = 1000) -> None:
    words = Strings(alphabet="abc", shortest=1, longest=6, reward=reward)
    composer = pl.method("subtb").seeded(words, seed=0).fit(words, pl.steps(steps))
    print(", ".join(f"{metric} {value:.3g}" for metric, value in composer.evaluate(words).items()))
    drawn = composer.sample(10, seed=1)
    numbers = zip(words.text(drawn.objects), drawn.log_rewards, drawn.log_probabilities, strict=True)
    for word, log_reward, log_probability in numbers:
        print(f"{word:6}  reward {log_reward.exp():.0f}  probability {log_probability.exp():.4f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
