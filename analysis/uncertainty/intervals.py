"""Point estimates with 95% intervals: Wilson score and percentile bootstrap."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Floats

Z_95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval; NaN where undefined."""

    value: float
    low: float = np.nan
    high: float = np.nan

    def text(self, digits: int = 2) -> str:
        """`.83 (.77-.88)`; `n/a` where undefined, and `.83 (n/a)` where only the interval is."""
        if not np.isfinite(self.value):
            return "n/a"
        if not (np.isfinite(self.low) and np.isfinite(self.high)):
            return f"{short(self.value, digits)} (n/a)"
        low = short(self.low, digits)
        dash = " to " if low.startswith("-") else "-"
        return f"{short(self.value, digits)} ({low}{dash}{short(self.high, digits)})"

    def concise(self) -> str:
        """As `text`, with as many digits as the interval warrants, in powers of ten below 1e-4.

        >>> Estimate(3000.0, 3000.0, 3000.0).concise(), Estimate(1.0, 1.0, 1.0).concise()
        ('3000 (3000-3000)', '1.00 (1.00-1.00)')
        """
        span = self.high - self.low
        if not np.isfinite(self.value + span) or not span > 0:
            # A point that is a whole number, such as a step, has no decimals.
            return self.text(0 if span == 0 and self.value > 9 and float(self.value).is_integer() else 2)
        if max(abs(self.low), abs(self.high)) < 1e-4:
            return f"{self.value:.1e} ({self.low:.1e} to {self.high:.1e})"
        return self.text(int(np.clip(np.round(1 - np.log10(span)), 2 if span < 1 else 0, 6)))

    def to_json(self) -> list[float | None]:
        """[value, low, high], with null where undefined."""
        return [float(x) if np.isfinite(x) else None for x in (self.value, self.low, self.high)]


def short(value: float, digits: int = 2) -> str:
    """A number without its leading zero (`.83`, `-.12`, `1.00`); `n/a` for NaN.

    >>> short(0.8251), short(-0.1), short(float("nan"))
    ('.83', '-.10', 'n/a')
    """
    if not np.isfinite(value):
        return "n/a"
    text = f"{value:.{digits}f}"
    if not float(text):
        text = text.lstrip("-")
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def proportion_from_bootstrap(share_B: Floats, num_units: float) -> Estimate:
    """As `from_bootstrap`, but the Wilson interval on `num_units` where all resamples agree with the estimate.

    Resamples of runs that all did the same say nothing about how far other runs could differ.
    """
    value, resampled_B = float(share_B[0]), share_B[1:]
    defined_B = resampled_B[np.isfinite(resampled_B)]
    if np.isfinite(value) and len(defined_B) and np.ptp(np.append(defined_B, value)) <= 1e-12:
        return wilson_proportion(value, num_units)
    return from_bootstrap(share_B)


def from_bootstrap(score_B: Floats) -> Estimate:
    """Row 0 is the estimate, the others are resamples; 95% percentile interval over the resamples that are defined.

    Without an interval where fewer than half of the resamples, or fewer than two, are defined.

    >>> from_bootstrap(np.array([0.5, 0.4, 0.5, 0.6])).text()
    '.50 (.41-.59)'
    >>> from_bootstrap(np.array([0.5, np.nan, np.nan, 0.6])).text()
    '.50 (n/a)'
    """
    value, resampled_B = float(score_B[0]), score_B[1:]
    defined_B = resampled_B[np.isfinite(resampled_B)]
    if not np.isfinite(value) or len(defined_B) < 2 or 2 * len(defined_B) < len(resampled_B):
        return Estimate(value)
    low, high = np.quantile(defined_B, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of figures of separate samples; each end of its interval is as far off as errors that are independent.

    NaN of none, and without an interval where one of them has none.

    >>> mean_of([Estimate(0.5, 0.4, 0.7), Estimate(0.7, 0.6, 0.8)]).text()
    '.60 (.53-.71)'
    """
    if not estimates:
        return Estimate(np.nan)
    value, low, high = np.array([(found.value, found.low, found.high) for found in estimates]).T
    mean, size = float(value.mean()), len(estimates)
    below, above = np.sqrt(((value - low) ** 2).sum()) / size, np.sqrt(((high - value) ** 2).sum()) / size
    return Estimate(mean, float(mean - below), float(mean + above))


def percentile_or_basic(score_B: Floats, least: float, most: float) -> Estimate:
    """As `from_bootstrap`, but from the lower to the upper end of the percentile and the basic interval, within bounds.

    For an estimate whose bias may have either sign: resampling repeats the bias, which the basic interval subtracts and
    the percentile interval adds (Davison and Hinkley 1997, Bootstrap Methods and their Application, 5.2 and 5.3).

    >>> percentile_or_basic(np.array([0.9, 0.80, 0.85, 0.95]), 0.5, 1.0).text()
    '.90 (.80-1.00)'
    """
    found = from_bootstrap(score_B)
    low, high = min(found.low, 2 * found.value - found.high), max(found.high, 2 * found.value - found.low)
    return Estimate(found.value, float(max(low, least)), float(min(high, most)))


def wilson(count: int, total: int) -> Estimate:
    """A share with its 95% score interval (Wilson 1927); NaN of nothing.

    >>> wilson(8, 10).text()
    '.80 (.49-.94)'
    >>> wilson(10, 10).text()
    '1.00 (.72-1.00)'
    """
    return wilson_proportion(count / total, total) if total else Estimate(np.nan)


def wilson_proportion(proportion: float, total: float) -> Estimate:
    """The Wilson interval of a proportion of `total` independent units; without an interval on none."""
    if not total > 0:
        return Estimate(proportion)
    z2 = Z_95**2
    centre = (proportion + z2 / (2 * total)) / (1 + z2 / total)
    half = Z_95 / (1 + z2 / total) * np.sqrt(proportion * (1 - proportion) / total + z2 / (4 * total**2))
    return Estimate(proportion, float(max(0.0, centre - half)), float(min(1.0, centre + half)))


def json_safe(value: object) -> object:
    """The same nested dicts and lists with NaN and infinities as None, so that it is valid JSON."""
    return json.loads(json.dumps(value, default=_plain), parse_constant=lambda _: None)


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"cannot write {type(value).__name__} as JSON")
