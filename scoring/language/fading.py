"""How points fade with age: tables of whole numbers, so that no two machines ever differ by a rounding."""

from scoring.language.document import Decay

FULL = 1000  # weights are thousandths
# 1000 / 2 ** (step / 4), rounded: four steps to a half, and after four halves nothing.
HALVED = (1000, 841, 707, 595, 500, 420, 354, 297, 250, 210, 177, 149, 125, 105, 88, 74)
EVENLY = tuple(range(FULL, 0, -FULL // 10))


def weights(decay: Decay) -> tuple[tuple[int, int], ...]:
    """Return (age in days, thousandths from that age on) of each step: the first is (0, 1000), the last has 0."""
    table, span = (HALVED, 4 * decay.days) if decay.shape == "half_life" else (EVENLY, decay.days)
    # Of steps that fall on one day the last counts.
    return tuple({-(-step * span // len(table)): weight for step, weight in enumerate((*table, 0))}.items())


def weight_at(decay: Decay, age: int) -> int:
    """Return how many thousandths are left at an age in days, from 0 on."""
    return [weight for start, weight in weights(decay) if start <= age][-1]


def faded(points: int, weight: int) -> int:
    """Return so many thousandths of the points, a fraction of a hundredth cut off."""
    return abs(points) * weight // FULL * (1 if points > 0 else -1)
