"""The sweeps on Zhao (2023): the fast profile leaves out narrow heads and forks."""

from __future__ import annotations

from sweeps.papers import Paper, PaperSweep

PAPER = Paper(
    name="zhao_2023",
    title=(
        "Zhao 2023: Investigating Training Dynamics of Transformer Models on Algorithmically Generated In-Context "
        "Learning Datasets (UCB/EECS-2023-96)"
    ),
    sweeps=(
        PaperSweep("setting_a", "zhao_2023/setting_a.yaml"),
        PaperSweep("setting_a_again", "zhao_2023/setting_a_again.yaml"),
        PaperSweep(
            "full_width",
            "zhao_2023/full_width.yaml",
            fast=("budget=1000", "seeds={together: {range: [1000, 1048]}}"),
        ),
        PaperSweep("pair_tokens", "zhao_2023/pair_tokens.yaml"),
        PaperSweep("setting_b", "zhao_2023/setting_b.yaml"),
        PaperSweep("setting_c", "zhao_2023/setting_c.yaml", fast=None),
        PaperSweep("crossed", "zhao_2023/crossed.yaml"),
        PaperSweep("head_widths", "zhao_2023/head_widths.yaml", fast=None),
        PaperSweep("fork_parents", "zhao_2023/fork_parents.yaml", fast=None),
        PaperSweep("forks", "zhao_2023/forks.yaml", fast=None, forks_of="fork_parents"),
    ),
    order=3,
    page_figures=("early_statistics", "fates"),
)
