"""Questions on other settings, three of each. Regions are those of ordinary parents in setting A.

In B, C and with pair tokens the first four pairs left most of them undecided, and fresh ones are judged.
"""

from __future__ import annotations

from functools import partial

from analysis.claims.claims import Claim, Region
from sweeps.landscape.settings.measures import RETURNS, mean_share_of_setting
from sweeps.landscape.settings.study import OTHER_SETTINGS

_LOG_TIME = "mean share of the variance of log time"
# What is asked of each setting: the share, a sentence on it, the region, and the claims of setting A that it is one of.
_QUESTIONS = (
    (RETURNS, "the combination of initial matrices decides", "that returns under other data", Region(low=0.5)),
    ("order 1", "matrices do not act by themselves", "of order 1", Region(high=0.5)),
    ("order 3 and above", "interactions of two do not suffice", "of order 3 and above", Region(low=0.2)),
)
_FAMILIES = {RETURNS: "combinations_decide", "order 1": "main_effects", "order 3 and above": "higher_orders"}
_NAMES = {RETURNS: "combinations_decide", "order 1": "main_effects_minor", "order 3 and above": "two_do_not_suffice"}

CLAIMS = tuple(
    Claim(
        name=f"{setting.name}_{_NAMES[which]}",
        statement=f"{setting.label}: {sentence}: {_LOG_TIME} {of_what}",
        value="",
        region=region,
        figure="settings",
        measure=partial(mean_share_of_setting, name=setting.name, which=which),
        least_runs=setting.num_judged_runs,
        stated_by="us",
        version=(1 if which == RETURNS else 2) + (setting.num_later > 0),
        family=_FAMILIES[which],
    )
    for setting in OTHER_SETTINGS
    for which, sentence, of_what, region in _QUESTIONS
)
