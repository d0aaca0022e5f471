"""Hand-made series of session ratings with the ruptures that every rule should see, written down before the rules were programmed.

Scale 1 to 7. All rules are told that the SD within clients is 0.5, that between clients 0.6, and that four fifths of the variance
within clients are reliable: a drop is then a fall of 0.5, a reliable drop one of 1.96 * sqrt(2) * 0.5 * sqrt(0.2) = 0.62, a decline one of
0.6 (or of the client's own SD, where that is larger). A rupture is repaired when half of the fall is made up for within three sessions.
Expected are the session in which each rupture is seen and whether it is repaired.
"""

from __future__ import annotations

from dataclasses import dataclass, field

GAP = None
REPAIRED, OPEN = True, False


@dataclass(frozen=True)
class Series:
    """Ratings of sessions 1, 2, ... (None: not rated) and the ruptures expected: by rule, session and whether repaired.

    ``ineligible`` names the rules that cannot judge the series.
    """

    ratings: tuple[float | None, ...]
    expected: dict[str, dict[int, bool]] = field(default_factory=dict)
    ineligible: tuple[str, ...] = ()


RULES = ("drop", "reliable_drop", "decline", "v_shape", "control_chart")

SERIES = {
    # One deep session on a rising line. XmR: centre 5.3, mean moving range 3.7 / 9, lower limit 5.3 - 2.66 * 0.411 = 4.21.
    "v": Series(
        (5.0, 5.1, 5.2, 5.3, 5.4, 4.0, 5.6, 5.7, 5.8, 5.9),
        {rule: {6: REPAIRED} for rule in RULES},
    ),
    # A quarter of a point a session. Decline: own SD 0.61, so 0.75 below the top in session 4. A line that falls is no V. XmR: centre
    # 5.125, lower limit 5.125 - 2.66 * 0.25 = 4.46: a trend takes the last session out of the limits.
    "slow decline": Series(
        (6.0, 5.75, 5.5, 5.25, 5.0, 4.75, 4.5, 4.25),
        {"decline": {4: OPEN}, "control_chart": {8: OPEN}},
        ("v_shape",),
    ),
    "noise": Series((5.0, 5.1, 5.0, 5.1, 5.2, 5.1, 5.2, 5.1, 5.2, 5.3)),
    "ceiling": Series((7.0,) * 8),
    # A fall over two sessions that were not rated is not one from session to session. XmR: centre 5.843, ranges only of neighbours
    # (0.1, 0.1, 1.5, 0.1, 0.1), lower limit 5.843 - 2.66 * 0.38 = 4.83. A line that falls is no V.
    "gap": Series((6.0, 6.1, 6.0, GAP, GAP, 4.5, 6.0, 6.1, 6.2), {"control_chart": {6: REPAIRED}}, ("v_shape",)),
    "short": Series((6.0, 4.0, 6.0), {}, RULES),
    # Falls and stays. XmR: centre 5.533, mean moving range 2.1 / 8, lower limit 5.533 - 2.66 * 0.2625 = 4.84.
    "stays low": Series(
        (6.0, 6.1, 6.0, 6.1, 6.0, 6.1, 4.5, 4.5, 4.5),
        {rule: {7: OPEN} for rule in ("drop", "reliable_drop", "decline", "control_chart")},
        ("v_shape",),
    ),
    # Recovers in the fifth session after the bottom: too late. Own line rises, residual SD 0.8: the fall of 1.5 is less than twice that.
    # XmR: centre 5.564, mean moving range 3.6 / 13, lower limit 5.564 - 2.66 * 0.277 = 4.83.
    "recovers late": Series(
        (6.0, 6.1, 6.0, 4.5, 4.5, 4.5, 4.5, 4.5, 6.0, 6.1, 6.2, 6.3, 6.3, 6.4),
        {rule: {4: OPEN} for rule in ("drop", "reliable_drop", "decline", "control_chart")},
    ),
    # Nobody knows what came after.
    "at the end": Series(
        (6.0, 6.0, 6.1, 6.0, 6.1, 6.2, 4.6),
        {rule: {7: OPEN} for rule in ("drop", "reliable_drop", "decline", "control_chart")},
        ("v_shape",),
    ),
    # Falls in two steps of 0.4, which together are a decline and none of which is a jump.
    "two steps": Series((5.9, 6.0, 6.1, 5.7, 5.3, 5.9, 6.1, 6.2, 6.3), {"decline": {5: REPAIRED}}),
    # Two ruptures, the first repaired, the second not. XmR: mean moving range 4.8 / 9, lower limit 5.52 - 2.66 * 0.533 = 4.10.
    "twice": Series(
        (6.0, 6.1, 4.6, 6.0, 6.1, 6.2, 6.2, 4.7, 4.7, 4.6),
        {rule: {3: REPAIRED, 8: OPEN} for rule in ("drop", "reliable_drop", "decline")},
        ("v_shape",),
    ),
}
