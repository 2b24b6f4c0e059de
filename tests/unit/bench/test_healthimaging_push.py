"""What the push benchmark makes of its measurements."""

from tests.bench.healthimaging_push import PAIRS, Push, PushReport


def push(server: str, sender: str, round_number: int, seconds: float) -> Push:
    return Push(
        server=server,
        sender=sender,
        round_number=round_number,
        seconds=seconds,
        size_bytes=10**8,
        peak_bytes=10**8,
    )


def test_a_ratio_is_the_median_of_what_the_rounds_say() -> None:
    seconds = {0: (2.0, 1.0), 1: (1.0, 1.0), 2: (10.0, 9.0)}
    report = PushReport(
        machine={"cpu": "any", "cores": 2},
        slices=1,
        rounds=3,
        pushes=[
            push(server, name, number, seconds[number][place])
            for server, *senders in PAIRS
            for place, name in enumerate(senders)
            for number in seconds
        ],
    )
    assert report.ratios() == [(server, sender, 0.9) for server, sender, _ in PAIRS]
    assert report.json()["ratios"]["sink: gateway-stow"] == 0.9
