#!/usr/bin/env python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Draws a Grafana dashboard as Prometheus answers its panels' queries: the same places, titles, legends and units, without Grafana.

dashboard.py DASHBOARD PROMETHEUS SECONDS FILE   DASHBOARD: its JSON; PROMETHEUS: address and port; of the last so many seconds; FILE: PNG
"""
import datetime
import json
import re
import sys
import time
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("agg")
import matplotlib.dates
import matplotlib.pyplot
import matplotlib.ticker

COLUMNS = 24  # Grafana's grid
PAPER, PANEL, INK, FAINT = "#111217", "#181b1f", "#ccccdc", "#2c3235"
COLOURS = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#96d98d", "#ffee52", "#c0d8ff")
RATE_SECONDS = 15
PER_SECOND = {"Bps": "B/s", "cps": "/s", "pps": "/s"}


def query(prometheus, expression, end, seconds):
    expression = expression.replace("$__rate_interval", f"{RATE_SECONDS}s")
    expression = re.sub(r"\$(instance|dir|port)", ".*", expression)
    asked = urllib.parse.urlencode({"query": expression, "start": end - seconds, "end": end, "step": 1})
    with urllib.request.urlopen(f"http://{prometheus}/api/v1/query_range?{asked}") as answer:
        return json.load(answer)["data"]["result"]


def label(target, metric):
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda match: metric.get(match[1], ""), target.get("legendFormat", "")) or "value"


def scaled(value, unit):
    """A value with its unit, as Grafana names that."""
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s":
        factor, name = next((f, n) for f, n in ((1, "s"), (1e3, "ms"), (1e6, "µs")) if value * f >= 1 or n == "µs")
        return f"{value * factor:.3g} {name}"
    factor, name = next((f, n) for f, n in ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, "")) if abs(value) >= f or f == 1)
    return f"{value / factor:.3g} {name}{PER_SECOND.get(unit, '')}".rstrip()


def draw_number(axes, value, unit):
    axes.text(0.5, 0.42, "no data" if value is None else scaled(value, unit), ha="center", va="center", color=COLOURS[0], fontsize=22)
    axes.set_axis_off()


def draw_lines(axes, lines, unit, columns):
    for (name, samples), colour in zip(lines, COLOURS * 3):
        times = [datetime.datetime.fromtimestamp(t) for t, _ in samples]
        values = [float(v) for _, v in samples]
        axes.plot(times, values, color=colour, linewidth=1.1, label=name)
        axes.fill_between(times, values, color=colour, alpha=0.08, linewidth=0)
    axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: scaled(value, unit)))
    axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4))
    axes.set_ylim(bottom=0)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.tick_params(colors=INK, labelsize=7, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if lines:
        axes.xaxis.set_major_locator(matplotlib.dates.SecondLocator(bysecond=(0, 30)))
        axes.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%H:%M:%S"))
        # Two rows of names are shown, as many as there is room for, those of the highest lines.
        shown = sorted(zip(axes.lines, lines), key=lambda one: -max((float(v) for _, v in one[1][1]), default=0))[: 2 * columns]
        axes.legend(
            [line for line, _ in shown], [name for _, (name, _) in shown], loc="upper left", bbox_to_anchor=(0, -0.12), ncols=columns,
            fontsize=6.5, labelcolor=INK, frameon=False, handlelength=1,
        )
    else:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no data", ha="center", va="center", color=INK, fontsize=9, transform=axes.transAxes)


def draw(panel, figure, rows, prometheus, end, seconds):
    place = panel["gridPos"]
    left, width = place["x"] / COLUMNS, place["w"] / COLUMNS
    bottom, height = 1 - (place["y"] + place["h"]) / rows, place["h"] / rows
    gap = 0.003
    figure.patches.append(
        matplotlib.patches.Rectangle(
            (left + gap, bottom + gap), width - 2 * gap, height - 2 * gap, transform=figure.transFigure, facecolor=PANEL, edgecolor=FAINT, zorder=-1
        )
    )
    figure.text(left + 0.01, bottom + height - 0.8 / rows, panel["title"], color=INK, fontsize=9, va="center")
    unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit", "")
    lines = []
    for target in panel["targets"]:
        for series in query(prometheus, target["expr"], end, seconds):
            samples = [(t, v) for t, v in series["values"] if v != "NaN"]
            if samples:
                lines.append((label(target, series["metric"]), samples))
    longest = max((len(name) for name, _ in lines), default=0)
    if panel["type"] == "stat":
        axes = figure.add_axes((left, bottom, width, height))
        draw_number(axes, float(lines[0][1][-1][1]) if lines else None, unit)
    else:
        axes = figure.add_axes((left + 0.05, bottom + 1.9 / rows, width - 0.065, height - 3.4 / rows), facecolor=PANEL)
        draw_lines(axes, lines, unit, place["w"] // (3 if longest < 12 else 4))


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    dashboard, prometheus, seconds, file = sys.argv[1:]
    with open(dashboard) as source:
        panels = json.load(source)["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    matplotlib.rcParams.update({"font.family": "sans-serif"})
    figure = matplotlib.pyplot.figure(figsize=(12, rows * 0.27), facecolor=PAPER)
    end = time.time()
    for panel in panels:
        draw(panel, figure, rows, prometheus, end, int(seconds))
    figure.savefig(file, format="png", dpi=100, facecolor=PAPER)


if __name__ == "__main__":
    main()
