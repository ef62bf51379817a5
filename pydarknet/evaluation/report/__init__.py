"""The report of a detector: one HTML page that needs no other file, and its figures as JSON.

    seen = ReportCollector(model, model.names, truth)
    result = evaluate(model, truth, each=seen.add)
    write_report("report", seen, result, title="small.cfg")

collector   what is collected while the pictures are evaluated: confusions, the pictures to show
thresholds  F1 over the threshold, and the threshold that it recommends
charts      the charts as SVG (matplotlib, extra `plot`)
pictures    truth beside found
page        the HTML
"""

from .collector import ReportCollector
from .page import write_report

__all__ = ["ReportCollector", "write_report"]
