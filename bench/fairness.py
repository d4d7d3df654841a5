"""How far the rotation deviates at worst, by length of history, members and faults. Pure, and alike each time."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from routing import rotation
from routing.rotation import TURN, Member, Turn

LENGTHS = (100, 1_000, 10_000)
MEMBERS = (2, 5, 20)
HISTORIES = 10_000  # turns of each cell at least, in histories of its length
FAULTS = ("none", "absences", "refunds", "absences and refunds", "absences and values")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Pool:
    """Members with what each had net of refunds; the first two are never absent and weigh the same."""

    def __init__(self, size: int, chance: random.Random) -> None:
        self.weights = [1, 1, *(chance.choice([1, 2, 7]) for _ in range(size - 2))]
        self.credits, self.had = [0] * size, [0] * size
        self.last: list[datetime | None] = [None] * size
        self.turns: list[Turn] = []

    def serve(self, there: Sequence[int], cost: int, at: datetime) -> int:
        """Take a turn; returns by how much who was served was ahead of its equal before, if it has one."""
        turn = rotation.turn([Member(i, self.weights[i], self.credits[i], self.last[i]) for i in there], cost=cost)
        ahead = self.had[turn.chosen] - self.had[1 - turn.chosen] if turn.chosen < 2 else 0
        self.last[turn.chosen] = at
        self.turns.append(turn)
        self.book(turn, turn.changes, 1)
        return ahead

    def book(self, turn: Turn, changes: dict[int, int], sign: int) -> None:
        """Write a turn down, or take it back."""
        self.had[turn.chosen] += sign * turn.cost
        for member, change in changes.items():
            self.credits[member] += change


def worst(length: int, size: int, faults: str, chance: random.Random) -> tuple[float, float, float]:
    """Play a history; returns at worst how far two equals were apart, how far ahead who was served, and any credit."""
    pool, values = Pool(size, chance), [TURN, TURN // 4, TURN // 10] if "values" in faults else [TURN]
    apart = ahead = credit = 0
    for step in range(length):
        if "refunds" in faults and pool.turns and chance.random() < 0.2:
            turn = pool.turns.pop(chance.randrange(max(len(pool.turns) - 10, 0), len(pool.turns)))
            pool.book(turn, turn.undone, -1)
            continue
        absent = "absences" in faults
        there = [0, 1, *(i for i in range(2, size) if not absent or chance.random() < 0.5)]
        ahead = max(ahead, pool.serve(there, chance.choice(values), BEGIN + timedelta(seconds=step)))
        apart = max(apart, abs(pool.had[0] - pool.had[1]))
        credit = max(credit, *map(abs, pool.credits))
    return apart / TURN, ahead / TURN, credit / TURN


def main() -> None:
    """Print the table."""
    print("worst deviation in turns (of value: in leads of the largest value), net of refunds")
    print("apart: two of one weight who are never absent (allowed 1 without refunds)")
    print("ahead: who was served, of its equal before (allowed 0 where leads are dealt out)")
    print("credit: of anybody, due less had (allowed 1 - 1/(2N - 2) without faults; else told, not promised)\n")
    print(f"{'faults':<22}{'leads':>8}{'members':>9}{'apart':>8}{'ahead':>8}{'credit':>8}")
    for faults in FAULTS:
        for length in LENGTHS:
            for size in MEMBERS:
                chance = random.Random(f"{faults} {length} {size}")
                played = [worst(length, size, faults, chance) for _ in range(HISTORIES // length)]
                apart, ahead, credit = (max(column) for column in zip(*played, strict=True))
                print(f"{faults:<22}{length:>8,}{size:>9}{apart:>8.2f}{ahead:>8.2f}{credit:>8.2f}")


if __name__ == "__main__":
    main()
