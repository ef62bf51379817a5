"""Docstrings as Markdown: the aligned tables of names, `name   what it is`, become lists."""

from __future__ import annotations

import re

from griffe import Extension

ROW = re.compile(r"^( {0,4})([\w.`]+(?:, [\w.`]+)*) {2,}(\S.*)$")


def with_lists(text):
    """The text, each row of a table as an item of a list; lines that go on are indented further than the names."""
    lines, in_table = [], False
    for line in text.splitlines():
        row = ROW.match(line)
        if row:
            if not in_table and lines and lines[-1]:
                lines.append("")
            lines.append(f"- `{row[2].replace('`', '')}`: {row[3]}")
        elif in_table and line.startswith("   "):
            lines.append(f"    {line.strip()}")
            continue
        else:
            lines.append(line)
        in_table = bool(row)
    return "\n".join(lines)


class Tables(Extension):
    """For mkdocstrings: applied to every docstring that is shown."""

    def on_instance(self, *, obj, **kwargs):
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = with_lists(obj.docstring.value)
