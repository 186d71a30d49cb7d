"""The example agent, run as Baton runs it: a process, its lines, its exit code, and what it left in the database.

`python3 -m unittest discover -s examples`
"""

import contextlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import agent  # noqa: E402
import make_report  # noqa: E402

REPORT = HERE / "report.xlsx"
TAB = "MB Attributes"
IMPORT = ["task-context", "import-excel", str(REPORT), "--main-tab", TAB, "--custom-structure"]
ANALYZE = ["agent", "run", "--input", "Analyze all MB attributes for Q1", "--parallel-workers", "3"]
HOSTILE = [
    "--help",
    "-x",
    "-",
    "--",
    "",
    " ",
    "-1",
    "a b",
    "--input=x",
    "line\nline",
    "'\"$(id)`;",
    "é日本\u202e",
    "x" * 100_000,
]


class Jobs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.project(db_conn="sqlite:///data/example.db")

    def project(self, **config):
        (self.folder / "project.json").write_text(json.dumps(config), encoding="utf-8")

    def command(self, *args):
        return [sys.executable, str(HERE / "agent.py"), *args]

    def environment(self, **more):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BATON_", "AGENT_"))}
        return {**kept, "BATON_PROJECT_FILE": "project.json", **more}

    def run_agent(self, *args, **environment):
        done = subprocess.run(
            self.command(*args),
            cwd=self.folder,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        return done.returncode, done.stdout.splitlines(), done.stderr

    def succeeds(self, *args, **environment):
        code, lines, errors = self.run_agent(*args, **environment)
        self.assertEqual((code, errors), (0, ""))
        return lines

    def fails(self, *args, code=1):
        actual, _, errors = self.run_agent(*args)
        self.assertEqual(actual, code)
        self.assertNotIn("Traceback", errors)
        return errors.strip()

    def query(self, sql):
        with contextlib.closing(sqlite3.connect(str(self.folder / "data/example.db"))) as database:
            return database.execute(sql).fetchall()

    def workbook(self, parts):
        """A workbook of the given parts, the others being the report's."""
        path = self.folder / "made.xlsx"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in {**dict(make_report.parts()), **parts}.items():
                if text is not None:
                    archive.writestr(name, text)
        return path

    # seed-db

    def test_seed_db_fills_an_empty_database(self):
        lines = self.succeeds("seed-db", "--reset")
        self.assertEqual(lines[:3], ["Initializing...", "Loaded config", "Emptied the database"])
        self.assertEqual(lines[-1], "Seeded 8 attributes; the database holds 8")
        self.assertEqual(self.query("SELECT count(*) FROM attribute"), [(8,)])

    def test_seed_db_keeps_what_is_there_unless_it_resets(self):
        self.succeeds(*IMPORT)
        self.assertIn("holds 48", self.succeeds("seed-db")[-1])
        self.assertIn("holds 48", self.succeeds("seed-db")[-1])
        self.assertIn("holds 8", self.succeeds("seed-db", "--reset")[-1])

    # task-context import-excel

    def test_import_excel_writes_every_row_and_says_so(self):
        lines = self.succeeds(*IMPORT)
        progress = [line for line in lines if line.startswith("Processing")]
        self.assertEqual(progress, [f"Processing row {n}/40" for n in range(1, 41)])
        self.assertEqual(lines[-1], 'Imported 40 rows of "MB Attributes" from "report.xlsx"')
        rows = [json.loads(content) for (content,) in self.query("SELECT content FROM attribute ORDER BY number")]
        expected = [dict(zip(make_report.HEADER, row)) for row in make_report.ROWS[1:]]
        self.assertEqual(rows, expected)
        self.assertEqual(json.loads(self.query("SELECT structure FROM dataset")[0][0]), make_report.HEADER)

    def test_without_custom_structure_headings_become_plain_names(self):
        self.succeeds("task-context", "import-excel", str(REPORT), "--main-tab", "Notes")
        self.assertEqual(json.loads(self.query("SELECT structure FROM dataset")[0][0]), ["topic", "text"])

    def test_the_first_tab_is_the_one_that_is_meant_when_none_is_named(self):
        self.assertIn('"MB Attributes"', self.succeeds("task-context", "import-excel", str(REPORT))[-1])

    def test_importing_twice_doubles_nothing(self):
        self.succeeds(*IMPORT)
        self.succeeds(*IMPORT)
        self.assertEqual(self.query("SELECT count(*), count(DISTINCT number) FROM attribute"), [(40, 40)])

    def test_a_second_attempt_of_a_finished_task_does_nothing(self):
        first = self.succeeds(*IMPORT, BATON_TASK_ID="abc", BATON_ATTEMPT="1")
        self.succeeds("seed-db", "--reset", BATON_TASK_ID="def")
        second = self.succeeds(*IMPORT, BATON_TASK_ID="abc", BATON_ATTEMPT="2")
        self.assertEqual(second[-1], first[-1])
        self.assertIn("nothing is done twice", second[-2])
        self.assertEqual(self.query("SELECT DISTINCT origin FROM attribute"), [("seed",)])

    def test_uploads_of_the_project_are_searched(self):
        self.project(db_conn="sqlite:///data/example.db", paths={"uploads": str(HERE)})
        self.succeeds("task-context", "import-excel", "report.xlsx", "--main-tab", TAB)
        self.assertRegex(self.fails("task-context", "import-excel", "none.xlsx"), 'no such file: "none.xlsx", nor ".*"')

    def test_a_file_may_be_named_like_an_option(self):
        (self.folder / "-x.xlsx").write_bytes(REPORT.read_bytes())
        self.succeeds("task-context", "import-excel", "--main-tab", TAB, "--", "-x.xlsx")

    def test_every_kind_of_cell_is_read(self):
        row = (
            '<row><c t="inlineStr"><is><r><t>in</t></r><r><t>line</t></r><rPh><t>no</t></rPh></is></c>'
            '<c t="b"><v>1</v></c><c t="e"><v>#N/A</v></c><c t="d"><v>2026-01-31</v></c>'
            '<c r="F2" t="str"><f>1</f><v>formula</v></c><c r="G2"><v>1.50</v></c>'
            '<c r="H2"><v>-7</v></c><c r="I2"/></row>'
        )
        head = '<row><c t="inlineStr"><is><t>A</t></is></c><c t="inlineStr"><is><t>A</t></is></c></row>'
        sheet = f'<worksheet xmlns="urn:any"><sheetData>{head}<row/>{row}</sheetData></worksheet>'
        self.succeeds(*IMPORT[:2], str(self.workbook({"xl/worksheets/sheet1.xml": sheet})), "--custom-structure")
        content = json.loads(self.query("SELECT content FROM attribute")[0][0])
        self.assertEqual(
            list(content), ["A", "A (2)", "column C", "column D", "column E", "column F", "column G", "column H"]
        )
        self.assertEqual(list(content.values()), ["inline", True, "#N/A", "2026-01-31", None, "formula", 1.5, -7])

    def test_errors_say_what_is_wrong_with_the_workbook(self):
        self.assertEqual(self.fails(*IMPORT[:2], "none.xlsx"), 'error: no such file: "none.xlsx"')
        self.assertRegex(
            self.fails(*IMPORT[:3], "--main-tab", "Nope"), 'no tab "Nope"; it has "MB Attributes", "Notes"'
        )
        plain = self.folder / "plain.xlsx"
        plain.write_text("not a zip archive", encoding="utf-8")
        self.assertIn("is not a workbook that can be read (.xlsx)", self.fails(*IMPORT[:2], str(plain)))
        for parts, says in [
            ({"xl/workbook.xml": None}, "it has no xl/workbook.xml"),
            ({"xl/workbook.xml": "<workbook"}, "xl/workbook.xml: "),
            ({"xl/worksheets/sheet1.xml": None}, "it has no xl/worksheets/sheet1.xml"),
            ({"xl/worksheets/sheet1.xml": "<w/>"}, "is empty: it has no header row"),
            ({"xl/sharedStrings.xml": "<sst/>"}, 'the cell "A1" of "MB Attributes" has no readable value'),
        ]:
            with self.subTest(says):
                self.assertIn(says, self.fails(*IMPORT[:2], str(self.workbook(parts))))

    def test_killed_half_way_it_leaves_what_was_there(self):
        self.succeeds(*IMPORT)
        self.query("SELECT 1")
        process = subprocess.Popen(
            self.command(*IMPORT),
            cwd=self.folder,
            env=self.environment(AGENT_PACE_MS="50"),
            stdout=subprocess.PIPE,
        )
        with process:
            for line in process.stdout:
                if line == b"Processing row 5/40\n":
                    process.kill()
        self.assertEqual(process.returncode, -signal.SIGKILL)
        self.assertEqual(self.query("SELECT count(*) FROM attribute"), [(40,)])
        self.assertEqual(self.query("PRAGMA integrity_check"), [("ok",)])

    # agent run

    def test_agent_run_analyzes_every_attribute_in_its_own_number_of_processes(self):
        self.succeeds(*IMPORT)
        lines = self.succeeds(*ANALYZE)
        processes = {line.split("process ")[1].split(")")[0] for line in lines if " started (process " in line}
        self.assertEqual(len(processes), 3)
        analyzed = [line.split("analyzed ")[1].rpartition(" (")[0] for line in lines if ": analyzed " in line]
        self.assertEqual(sorted(analyzed), sorted(row[0] for row in make_report.ROWS[1:]))
        self.assertEqual(
            lines[-3:],
            [
                "Q1: 40 values, mean 547.9, lowest -108.5 (Audio noise floor), highest 7120 (Storage throughput)",
                "Q1: furthest from its target is Open defects, by 70.0%",
                'Analyzed 40 attributes with 3 workers: "Analyze all MB attributes for Q1"',
            ],
        )

    def test_the_result_does_not_depend_on_the_number_of_workers(self):
        self.succeeds(*IMPORT)
        for workers in ("1", "2", "7"):
            self.succeeds("agent", "run", "--input", "everything", "--parallel-workers", workers)
        self.assertEqual(self.query("SELECT count(DISTINCT result), count(*) FROM analysis"), [(1, 3)])

    def test_agent_run_wants_a_filled_database(self):
        self.assertEqual(
            self.fails(*ANALYZE),
            "error: the database has no attributes; run seed-db or import-excel first",
        )

    def test_terminated_it_takes_its_workers_with_it(self):
        self.succeeds(*IMPORT)
        process = subprocess.Popen(
            self.command(*ANALYZE),
            cwd=self.folder,
            env=self.environment(AGENT_PACE_MS="2000"),
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        workers = []
        with process:
            for line in process.stdout:
                if " started (process " in line:
                    workers.append(int(line.split("process ")[1].split(")")[0]))
                elif workers:
                    process.terminate()
        self.assertEqual(process.returncode, 128 + signal.SIGTERM)
        self.assertEqual(len(workers), 3)
        for worker in workers:
            with self.assertRaises(ProcessLookupError):
                os.kill(worker, 0)
        self.assertEqual(self.query("SELECT count(*) FROM analysis"), [(0,)])

    # What every job says

    def test_a_bad_project_is_refused_and_its_secrets_are_not_shown(self):
        self.project(db_conn="postgres://me:secret@db/x")
        self.assertEqual(
            self.fails("seed-db"),
            "error: the project's db_conn is not of the form sqlite:///PATH; this agent knows SQLite only",
        )
        self.project()
        self.assertIn("has no db_conn", self.fails("seed-db"))
        (self.folder / "project.json").write_text("[]", encoding="utf-8")
        self.assertIn("must be a JSON object", self.fails("seed-db"))
        (self.folder / "project.json").unlink()
        self.assertIn("cannot read the project's config", self.fails("seed-db"))

    def test_bad_usage_exits_with_2(self):
        for args in [
            [],
            ["seed-db", "--res"],
            ["agent", "run"],
            ["agent", "run", "--input", "x", "--parallel-workers", "0"],
            ["agent", "run", "--input", "x", "--parallel-workers", "three"],
            ["task-context", "import-excel", "--main-tab", "x"],
        ]:
            with self.subTest(args):
                self.assertIn("usage: agent.py", self.fails(*args, code=2))

    def test_a_line_stays_one_line_whatever_is_in_it(self):
        self.succeeds("seed-db")
        lines = self.succeeds("agent", "run", "--input", "two\nlines", LANG="C", LC_ALL="C")
        self.assertEqual(lines[-1], 'Analyzed 8 attributes with 1 worker: "two\\nlines"')


class CommandLine(unittest.TestCase):
    """The parser gives back what Baton's argument builder was given, whatever the value."""

    def test_the_plans_own_lines(self):
        for argv, expected in [
            (["seed-db", "--reset"], {"type": "seed-db", "command": None, "reset": True}),
            (
                ["task-context", "import-excel", "/data/uploads/report.xlsx", "--main-tab", TAB, "--custom-structure"],
                {
                    "type": "task-context",
                    "command": "import-excel",
                    "file_path": "/data/uploads/report.xlsx",
                    "main_tab": TAB,
                    "custom_structure": True,
                },
            ),
            (
                ANALYZE,
                {
                    "type": "agent",
                    "command": "run",
                    "input": "Analyze all MB attributes for Q1",
                    "parallel_workers": 3,
                },
            ),
        ]:
            parsed = vars(agent.build_parser().parse_args(argv))
            del parsed["job"]
            self.assertEqual(parsed, expected)

    def test_hostile_values_come_back_as_they_are(self):
        for value in HOSTILE:
            with self.subTest(value[:20]):
                option = [f"--input={value}"] if value.startswith("-") else ["--input", value]
                parsed = agent.build_parser().parse_args(["agent", "run", *option, "--parallel-workers=-3"])
                self.assertEqual((parsed.input, parsed.parallel_workers), (value, -3))

                tab = [f"--main-tab={value}"] if value.startswith("-") else ["--main-tab", value]
                start = ["task-context", "import-excel"]
                argv = [*start, *tab, "--", value] if value.startswith("-") else [*start, value, *tab]
                parsed = agent.build_parser().parse_args(argv)
                self.assertEqual((parsed.file_path, parsed.main_tab), (value, value))

    def test_help_tells_what_there_is(self):
        for argv, says in [(["--help"], "import-excel"), (["agent", "run", "--help"], "--parallel-workers N")]:
            with contextlib.redirect_stdout(io.StringIO()) as out, self.assertRaises(SystemExit) as end:
                agent.build_parser().parse_args(argv)
            self.assertEqual(end.exception.code, 0)
            self.assertIn(says, out.getvalue())


class Report(unittest.TestCase):
    def test_the_workbook_in_the_repository_is_the_one_that_the_script_makes(self):
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "report.xlsx"
            make_report.make(made)
            self.assertEqual(made.read_bytes(), REPORT.read_bytes())


if __name__ == "__main__":
    unittest.main()
