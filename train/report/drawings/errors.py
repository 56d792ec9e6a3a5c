"""How many grades the answers are from the true grades."""

import numpy as np

from samcache.train.report.checks.finding import format_percent
from samcache.train.report.drawings.svg import SERIES, Figure, make_figure, open_canvas
from samcache.train.report.facts import ReportedRun


def draw_grade_errors(run: ReportedRun) -> Figure:
    """Share of the test images by the answer's distance from the true grade, with its sign."""
    error = run.answers - run.labels
    most = max(1, int(np.abs(error).max()))
    places = np.arange(-most, most + 1)
    shares = np.array([(error == place).mean() for place in places])
    with open_canvas() as (drawing, axes):
        axes.bar(places, 100 * shares, color=[SERIES[0 if p == 0 else 1] for p in places])
        axes.set(xlabel="answer − true grade (grades)", ylabel="test images (%)")
        axes.xaxis.get_major_locator().set_params(integer=True)
        low, right, high = ((error < 0).mean(), (error == 0).mean(), (error > 0).mean())
        finding = (
            f"Right {format_percent(right, 1)}, too low {format_percent(low, 1)}, too high "
            f"{format_percent(high, 1)}; the largest error is {int(np.abs(error).max())} grades."
        )
        reading = "Left of 0, the answer is too low; right of 0, it is too high."
        return make_figure(drawing, "Errors in grades", finding, reading)
