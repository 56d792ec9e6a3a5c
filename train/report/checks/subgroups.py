"""Check subgroups: whether the result is clearly worse in one of them."""

from samcache.train.report.checks.finding import CAUTION, FINE, Finding, make_finding
from samcache.train.report.facts import Facts
from samcache.train.report.kinds.choose import choose_report_kind
from samcache.train.scores.subgroups import find_largest_gap


def check_subgroups(facts: Facts) -> list[Finding]:
    """Whether two subgroups of a column differ beyond their intervals; none without subgroups."""
    groups, kind = facts.run.subgroups, choose_report_kind(facts.run)
    if not groups:
        return []
    gap = find_largest_gap(groups, kind.headline)
    name = kind.headline_title
    if gap is None:
        text = "Subgroups with too few images have no numbers."
        return [Finding(CAUTION, "No two subgroups have enough images to compare", text)]
    if not gap.is_clear:
        return [Finding(FINE, f"No subgroup has a clearly different {name}")]
    text = "The result may not hold for everyone. Report the numbers of each subgroup."
    title = f"The {name} differs between subgroups"
    return [make_finding(CAUTION, title, text, [gap.describe(name)])]
