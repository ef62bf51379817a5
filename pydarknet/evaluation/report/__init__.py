"""The report of a detector: one HTML page that needs no other file, and its metrics as JSON.

    collector = ReportCollector(model, model.names, truth)
    result = evaluate(model, truth, each=collector.add)
    write_report("report", collector, result, title="small.cfg")

collector   data collected during the evaluation: confusion matrix, pictures to show
thresholds  F1 over the threshold, and the recommended threshold
charts      the charts as SVG (matplotlib, extra `plot`)
pictures    ground truth beside detections
page        the HTML
"""

from .collector import ReportCollector
from .page import write_report

__all__ = ["ReportCollector", "write_report"]
