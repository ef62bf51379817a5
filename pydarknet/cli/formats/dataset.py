"""The lines of `dataset check`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..console import counted

if TYPE_CHECKING:
    from ...datasets.check import DatasetReport, Finding


def report_lines(report: DatasetReport, names: Sequence[str], show: int) -> list[str]:
    """The findings, the first `show` of each kind; then the counts of the lists, the classes and the findings."""
    findings = _findings(report.findings, show)
    return [*findings, *_lists(report), "", *_classes(report, names), "", *_kinds(report)]


def _findings(findings: list[Finding], show: int) -> list[str]:
    """One line for each finding, the first `show` of each kind."""
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_kind[finding.kind].append(finding)
    lines = []
    for kind, of_kind in by_kind.items():
        severity = "error" if of_kind[0].is_error else "warning"
        lines += [f"{severity}: {kind}: {finding.text}" for finding in of_kind[:show]]
        if len(of_kind) > show:
            lines.append(f"{severity}: {kind}: and {len(of_kind) - show} more")
    return [*lines, ""] if lines else []


def _lists(report: DatasetReport) -> list[str]:
    lines = [f"{'list':<8}{'pictures':>10}{'objects':>10}{'without objects':>17}"]
    for name, counts in report.lists.items():
        lines.append(f"{name:<8}{counts.pictures:>10}{counts.objects.total():>10}{counts.without_objects:>17}")
    return lines


def _classes(report: DatasetReport, names: Sequence[str]) -> list[str]:
    """The number of objects of each class and of pictures with any, for each list."""
    numbers = sorted({*range(len(names)), *(number for counts in report.lists.values() for number in counts.objects)})
    title = {number: names[number] if number < len(names) else "" for number in numbers}
    width = max([4, *map(len, title.values())])
    heads = "".join(f"{name:>10}{'pictures':>10}" for name in report.lists)
    lines = [f"class  {'name':<{width}}{heads}"]
    for number in numbers:
        cells = "".join(f"{c.objects[number]:>10}{c.pictures_with[number]:>10}" for c in report.lists.values())
        lines.append(f"{number:>5}  {title[number]:<{width}}{cells}")
    return lines


def _kinds(report: DatasetReport) -> list[str]:
    from ...datasets.check import KINDS

    found = [f"{report.kinds[kind]} {kind}" for kind in KINDS if report.kinds[kind]]
    warnings = len(report.findings) - report.errors
    total = f"{counted(report.errors, 'error')}, {counted(warnings, 'warning')}"
    return [f"{total}: {', '.join(found)}"] if found else [total]
