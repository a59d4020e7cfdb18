"""The page: one HTML file that needs no other, and no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

from honeyguide.diagnostics.section import Cell, Plot, Section, Table

LONG_TABLE = 15  # rows; longer ones are folded
STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --soft: #57606a; --back: #fff; --box: #f4f6f8; --line: #d5dbe1;
  --link: #1f5fa8; --warn: #8a4b00; --warn-back: #fff4e0; --good: #1d6b41; --good-back: #e8f6ee; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8ec; --soft: #a3adb8; --back: #14181c; --box: #1d2329;
  --line: #37414b; --link: #7fb4f5; --warn: #ffc876; --warn-back: #35280f; --good: #8fdcb0; --good-back: #12301f; } }
* { box-sizing: border-box; }
body { margin: 0; color: var(--text); background: var(--back); font: 16px/1.5 system-ui, "Segoe UI", Roboto, sans-serif;
  overflow-wrap: anywhere; }
main, header, nav { max-width: 1180px; margin: 0 auto; padding: 0 16px; }
h1 { font-size: 1.6rem; margin: 24px 0 4px; } h2 { font-size: 1.3rem; margin: 40px 0 8px; padding-top: 8px;
  border-top: 1px solid var(--line); } h3 { font-size: 1rem; margin: 0 0 6px; }
a { color: var(--link); } p { margin: 6px 0 12px; max-width: 75ch; } .soft { color: var(--soft); }
nav ul { list-style: none; padding: 0; margin: 12px 0; display: flex; flex-wrap: wrap; gap: 6px 18px; }
.box { border-left: 4px solid; border-radius: 4px; padding: 10px 14px; margin: 12px 0; }
.box ul { margin: 4px 0; padding-left: 20px; } .box h2 { border: 0; margin: 0 0 4px; padding: 0; font-size: 1.05rem; }
.warn { border-color: var(--warn); background: var(--warn-back); }
.good { border-color: var(--good); background: var(--good-back); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 16px; }
figure { margin: 0; padding: 12px; background: var(--box); border: 1px solid var(--line); border-radius: 6px;
  max-width: 720px; min-width: 0; }
figure img { width: 100%; height: auto; display: block; background: #fff; border-radius: 3px; }
figcaption { font-size: .88rem; color: var(--soft); margin-top: 8px; }
details { margin: 12px 0; } summary { cursor: pointer; font-weight: 600; font-size: .92rem; }
.table { overflow-x: auto; margin: 12px 0; border: 1px solid var(--line); border-radius: 6px; max-width: 100%; }
table { border-collapse: collapse; font-size: .86rem; width: 100%; overflow-wrap: normal; }
caption { text-align: left; font-weight: 600; padding: 8px 10px; }
th, td { padding: 4px 10px; text-align: right; border-top: 1px solid var(--line); font-variant-numeric: tabular-nums;
  white-space: nowrap; }
th { background: var(--box); white-space: normal; } .text, :is(th, td):first-child { text-align: left; }
@media (max-width: 500px) { figure { margin: 0 -8px; padding: 8px 4px; } figure > :not(img) { padding: 0 6px; } }
@media print { nav { display: none; } figure, .table, .box { break-inside: avoid; } body { font-size: 11pt; }
  .plots { grid-template-columns: 1fr 1fr; } .table { overflow: visible; } td, th { white-space: normal; } }
"""


def render(sections: Sequence[Section], images: Mapping[str, bytes], *, label: str) -> str:
    """Returns the page.

    Args:
        sections: What is on it, in order.
        images: PNG of every plot by its name.
        label: Name of the training.
    """
    links = "".join(f'<li><a href="#{escape(part.name)}">{escape(part.title)}</a></li>' for part in sections)
    body = "\n".join(_section(part, images) for part in sections)
    title = escape(f"Diagnostics of {label}")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1>{title}</h1></header>
<nav aria-label="contents"><ul>{links}</ul></nav>
<main>
{_summary(sections)}
{body}
</main>
</body>
</html>
"""


def _summary(sections: Sequence[Section]) -> str:
    """What is wrong, before everything else."""
    items = [
        f'<li><a href="#{escape(part.name)}">{escape(part.title)}</a>: {escape(warning)}</li>'
        for part in sections
        for warning in part.warnings
    ]
    if not items:
        return '<div class="box good" role="status"><h2>Nothing was found to be wrong</h2></div>'
    heading = "1 warning" if len(items) == 1 else f"{len(items)} warnings"
    return f'<div class="box warn" role="status"><h2>{heading}</h2><ul>{"".join(items)}</ul></div>'


def _section(section: Section, images: Mapping[str, bytes]) -> str:
    warnings = "".join(f"<li>{escape(warning)}</li>" for warning in section.warnings)
    box = f'<div class="box warn"><ul>{warnings}</ul></div>' if warnings else ""
    plots = "\n".join(_figure(plot, images[plot.name]) for plot in section.plots)
    grid = f'<div class="plots">\n{plots}\n</div>' if plots else ""
    tables = "\n".join(_table(table) for table in section.tables)
    names = ", ".join(f"<code>{escape(name)}</code>" for name in section.files)
    files = f"<p>Beside this page: {names}</p>" if names else ""  # no links: the page may be sent without them
    return f"""<section id="{escape(section.name)}" aria-labelledby="{escape(section.name)}-title">
<h2 id="{escape(section.name)}-title">{escape(section.title)}</h2>
<p>{escape(section.text)}</p>
{files}
{box}
{tables}
{grid}
</section>"""


def _figure(plot: Plot, image: bytes) -> str:
    source = f"data:image/png;base64,{base64.b64encode(image).decode()}"
    alt = escape(f"{plot.title}. {plot.caption}")
    return (
        f'<figure id="{escape(plot.name)}"><h3>{escape(plot.title)}</h3><img src="{source}" alt="{alt}">'
        f"<figcaption>{escape(plot.caption)}</figcaption></figure>"
    )


def _table(table: Table) -> str:
    texts = [any(isinstance(row[place], str) for row in table.rows) for place in range(len(table.columns))]
    head = "".join(
        f'<th scope="col" class="{"text" if text else "number"}">{escape(column)}</th>'
        for column, text in zip(table.columns, texts, strict=True)
    )
    rows = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in table.rows)
    title = escape(table.title)
    body = (
        f'<div class="table" tabindex="0" role="region" aria-label="{title}"><table><caption>{title}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
    if len(table.rows) <= LONG_TABLE:
        return body
    return f"<details><summary>{title} ({len(table.rows)} rows)</summary>{body}</details>"


def _cell(cell: Cell) -> str:
    if cell is None:
        return "<td></td>"
    if isinstance(cell, str):
        return f'<td class="text">{escape(cell)}</td>'
    return f"<td>{cell:,}</td>" if isinstance(cell, int) else f"<td>{cell:.4g}</td>"
