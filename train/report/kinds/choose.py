"""The words and drawings for the kind of answer that a run gives."""

from samcache.train.report.facts import ReportedRun
from samcache.train.report.kinds.base import ReportKind
from samcache.train.report.kinds.classes import ClassesReport
from samcache.train.report.kinds.findings import FindingsReport
from samcache.train.report.kinds.grades import GradesReport
from samcache.train.report.kinds.number import NumberReport
from samcache.train.tasks.options import KindName

_KINDS: dict[KindName, ReportKind] = {
    "class": ClassesReport(),
    "multilabel": FindingsReport(),
    "ordinal": GradesReport(),
    "number": NumberReport(),
}


def choose_report_kind(run: ReportedRun) -> ReportKind:
    """What a page says of a run's kind of answer."""
    return _KINDS[run.target.kind]
