#!/usr/bin/env python3
"""Writes report.xlsx, the example workbook: the same bytes each time, on every machine.

Nothing in it is compressed and no clock is read, so that the file in the repository can be checked against this script.
"""

import sys
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

REPORT = Path(__file__).with_name("report.xlsx")
EPOCH = (1980, 1, 1, 0, 0, 0)
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"

HEADER = ["Attribute", "Group", "Unit", "Q1", "Q2", "Target", "Note"]
# Made up, but in the shape of what people keep in such sheets: gaps, notes, and letters beyond ASCII.
GROUPS = {
    "Power & Supply": [
        ("Idle power", "W", 21.5, 20.9, 22, None),
        ("Peak power", "W", 188, 184.5, 180, "Above target & under review"),
        ("Standby power", "W", 0.8, 0.7, 1, None),
        ("12 V ripple", "mV", 38, 36, 50, None),
        ("5 V ripple", "mV", 22.5, 23, 50, None),
        ("Efficiency at 50 %", "%", 91.2, 91.8, 92, None),
        ("Inrush current", "A", 31, 29.5, 35, "Cold start"),
        ("Hold-up time", "ms", 17.2, 17.4, 16, None),
    ],
    "Memory": [
        ("Memory bandwidth", "GB/s", 88.2, 89.6, 90, None),
        ("Memory latency", "ns", 68, 66.5, 65, None),
        ("Memory slots", "count", 4, 4, 4, None),
        ("Highest clock", "MT/s", 6400, 6800, 6400, "Q2: new firmware"),
        ("Training time", "s", 14.5, 9.8, 10, None),
        ("Corrected errors", "per day", 0, 0, 0, None),
    ],
    "Cooling": [
        ("VRM temperature", "°C", 71, 68.5, 75, None),
        ("Chipset temperature", "°C", 58.5, 57, 65, None),
        ("Fan noise", "dB", 31.2, None, 30, "Q2 not yet measured"),
        ("Fan speed, idle", "1/min", 620, 610, 600, None),
        ("Fan speed, full", "1/min", 2150, 2100, 2200, None),
        ("Ambient limit", "°C", 40, 40, 40, "Größe M: 35 °C"),
    ],
    "Firmware": [
        ("Boot time", "s", 9.4, 8.7, 8, None),
        ("Resume time", "s", 1.9, 1.7, 2, None),
        ("Update time", "s", 95, 88, 90, None),
        ("Settings kept", "%", 100, 100, 100, None),
        ("Open defects", "count", 17, 11, 10, "See the second tab"),
        ("Localization", "languages", 14, 16, 16, "日本語, español, русский …"),
    ],
    "Ports": [
        ("USB ports", "count", 10, 10, 10, None),
        ("USB throughput", "MB/s", 985.5, 991, 1000, None),
        ("Ethernet throughput", "Mbit/s", 2361, 2364, 2350, None),
        ("Ethernet latency", "µs", 42, 41, 50, None),
        ("Audio noise floor", "dB", -108.5, -109, -110, "Lower is better"),
        ("Display outputs", "count", 3, 3, 3, None),
        ("Storage throughput", "MB/s", 7120, 7135, 7000, "<4 lanes>"),
    ],
    "Mechanics": [
        ("Board thickness", "mm", 1.57, 1.57, 1.6, None),
        ("Board weight", "g", 1180, 1175, 1200, None),
        ("Slot cycles", "count", 50, 55, 50, None),
        ("Flatness", "mm", 0.31, 0.28, 0.3, None),
        ("Screw torque", "N·m", 0.62, 0.6, 0.6, 'Torque driver "B"'),
        ("Drop height", "cm", 75, 75, 75, None),
        ("Solder voids", "%", 4.2, 3.9, 5, None),
    ],
}
ROWS = [HEADER] + [[name, group, *rest] for group, rows in GROUPS.items() for name, *rest in rows]
NOTES = [
    ["Topic", "Text"],
    ["Source", "Invented for this example"],
    ["Open defects", "Firmware team; counts at the end of the quarter"],
]


def sheet(rows, strings):
    lines = []
    for number, row in enumerate(rows, 1):
        cells = []
        for letter, value in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", row):
            if isinstance(value, str):
                index = strings.setdefault(value, len(strings))
                cells.append(f'<c r="{letter}{number}" t="s"><v>{index}</v></c>')
            elif value is not None:
                cells.append(f'<c r="{letter}{number}"><v>{value}</v></c>')
        lines.append(f'<row r="{number}">{"".join(cells)}</row>')
    return f'<worksheet xmlns="{MAIN}"><sheetData>{"".join(lines)}</sheetData></worksheet>'


def parts():
    tabs = {"MB Attributes": ROWS, "Notes": NOTES}
    strings = {}
    sheets = [sheet(rows, strings) for rows in tabs.values()]
    items = "".join(f'<si><t xml:space="preserve">{escape(text)}</t></si>' for text in strings)
    listed = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}"/>' for n, name in enumerate(tabs, 1))
    linked = "".join(
        f'<Relationship Id="rId{n}" Type="{RELATIONS}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in range(1, len(tabs) + 1)
    )
    typed = "".join(
        f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{TYPES}.worksheet+xml"/>'
        for n in range(1, len(tabs) + 1)
    )
    yield (
        "[Content_Types].xml",
        f'<Types xmlns="{PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{TYPES}.sheet.main+xml"/>'
        f'<Override PartName="/xl/sharedStrings.xml" ContentType="{TYPES}.sharedStrings+xml"/>{typed}</Types>',
    )
    yield (
        "_rels/.rels",
        f'<Relationships xmlns="{PACKAGE}/relationships">'
        f'<Relationship Id="rId1" Type="{RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    )
    yield "xl/workbook.xml", f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}"><sheets>{listed}</sheets></workbook>'
    yield (
        "xl/_rels/workbook.xml.rels",
        f'<Relationships xmlns="{PACKAGE}/relationships">{linked}'
        f'<Relationship Id="rId{len(tabs) + 1}" Type="{RELATIONS}/sharedStrings" Target="sharedStrings.xml"/>'
        "</Relationships>",
    )
    yield "xl/sharedStrings.xml", f'<sst xmlns="{MAIN}" uniqueCount="{len(strings)}">{items}</sst>'
    for n, text in enumerate(sheets, 1):
        yield f"xl/worksheets/sheet{n}.xml", text


def make(path):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system = 3  # Unix, wherever it is made
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n' + text)


if __name__ == "__main__":
    make(sys.argv[1] if len(sys.argv) > 1 else REPORT)
