"""What an open page shows, and places on it."""

from __future__ import annotations

HOSTILE = "</script><script>alert('x')</script>\"><img src=x onerror=alert(1)> & =co"
METRIC = "label_excess"


def outcome_of(analysis):
    return dict(zip((run.run_id for run in analysis.history.runs), analysis.outcomes.kind_R.tolist(), strict=True))


def chosen(page):
    """Ids of the chosen runs, in the order of the table."""
    return page.value("seedbed.table.order.map((run) => seedbed.sweep.texts.run_id[run])")


def place(page, step, value):
    """Where a step and a value of the chosen metric stand on the screen."""
    return page.value(
        f"""(() => {{ const c = seedbed.curves, box = c.over.getBoundingClientRect();
        const y = c.y.pixel(c.isLog ? Math.log10({value}) : {value});
        return [box.left + c.x.pixel(c.placed({step})), box.top + y]; }})()"""
    )


def given(selector, value, event):
    """The expression that puts a value into a field and tells it."""
    return (
        f"Object.assign(document.querySelector('{selector}'), {{value: '{value}'}}).dispatchEvent(new Event('{event}'))"
    )
