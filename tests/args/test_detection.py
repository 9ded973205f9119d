"""The arguments of a script are detected from its text alone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sqltrack
from sqltrack.args import convert_arguments, detect_args
from sqltrack.engines.json import plain
from support.variables import database_variables

EXAMPLES = Path(__file__).parents[2] / "examples"

FUNCTION = '''
from sqltrack.args import docopt_main
raise SystemExit("this script must not be run")

def helper():
    """usage: x [--helper=N]"""

@docopt_main
def main(args):
    """usage: x [--function=N]"""
'''
USAGE = '"""usage: x [--n=N]"""\n'

# Prints the detected arguments of its own process.
TELLING = '''"""
usage: x [options]

options:
    --n N      [default: 1]
    -h --help  Show this.
"""
import os
from sqltrack.args import detect_args
print(detect_args())
'''


def write(folder: Path, text: str | bytes, name: str = "script.py") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def python(folder: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_decorated_functions_come_before_the_module(tmp_path: Path) -> None:
    script = write(tmp_path, '"""usage: x [--function=N] [--module=N]"""' + FUNCTION)
    assert detect_args(script, argv=["--function", "1"]) == {"function": 1}
    assert detect_args(script, argv=["--module", "1"]) == {"function": None, "module": 1}
    assert detect_args(str(script), argv=["--helper", "1"]) is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("@docopt_main", "@docopt_arguments"),
        ("@docopt_main()", "@docopt_arguments(main=True)"),
        ("@sqltrack.args.docopt_main", "@args.docopt_arguments(main_guard=False)"),
        ("@other\n@docopt_main", "@renamed"),
    ],
)
def test_functions_are_tried_in_the_order_in_which_they_appear(tmp_path: Path, first: str, second: str) -> None:
    script = write(
        tmp_path,
        f"""
from sqltrack.args import docopt_arguments as renamed
if True:
    {first.replace(chr(10), chr(10) + "    ")}
    def one(args):
        'usage: x --one [--same=N]'
{second}
def two(args):
    'usage: x [--one] [--two] [--same=N]'
""",
    )
    assert detect_args(script, argv=["--one"]) == {"one": True, "same": None}
    assert detect_args(script, argv=["--two"]) == {"one": False, "two": True, "same": None}


def test_keywords_of_the_decorator_count_and_those_of_the_call_more(tmp_path: Path) -> None:
    script = write(
        tmp_path,
        """
@docopt_main(options_first=True, simplify_names=False, argv=['--n', '3', 'rest', '--more'], unknown=x)
def main(args):
    'usage: x [--n=N] [ARGS]...'
""".replace(", unknown=x", ""),
    )
    assert detect_args(script) == {"--n": 3, "ARGS": ["rest", "--more"]}
    assert detect_args(script, argv=["a"], simplify_names=True) == {"n": None, "ARGS": ["a"]}


def test_keywords_whose_values_are_not_written_out_count_for_nothing(tmp_path: Path) -> None:
    text = '"""usage: x [ARGS]..."""\n@docopt_main(options_first=FIRST, **more)\ndef main(args):\n    pass\n'
    script = write(tmp_path, text)
    assert detect_args(script, argv=["a", "b"]) == {"ARGS": ["a", "b"]}
    assert detect_args(script, argv=["a", "--b"]) is None


@pytest.mark.parametrize("body", ['"Does it."', "pass"])
def test_a_decorated_function_without_a_usage_takes_the_module_s(tmp_path: Path, body: str) -> None:
    script = write(
        tmp_path, f'"""usage: x [REST]..."""\n@docopt_main(options_first=True)\ndef main(args):\n    {body}\n'
    )
    assert detect_args(script, argv=["a", "--b"]) == {"REST": ["a", "--b"]}


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + b'"""usage: x [--n=N]"""',
        b'# -*- coding: latin-1 -*-\n"""\xe4\n\nusage: x [--n=N]"""',
        b'#!/usr/bin/env python\r\n"""usage: x [--n=N]"""\r\n',
        b'"""usage: x [--n=N]"""\nre = "\\d"',
    ],
    ids=["byte-order mark", "coding line", "carriage returns", "odd escape"],
)
def test_any_encoding_that_python_reads_is_read(tmp_path: Path, text: bytes) -> None:
    assert detect_args(write(tmp_path, text), argv=["--n", "3"]) == {"n": 3}


def test_folders_archives_links_and_modules_in_archives_are_found(tmp_path: Path) -> None:
    script = write(tmp_path / "package", USAGE, "__main__.py")
    archive = tmp_path / "app.pyz"
    archive.write_bytes(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(archive, "a") as file:
        file.write(script, "__main__.py")
        file.write(script, "package/module.py")
    link = tmp_path / "link"
    link.symlink_to(script)
    for path in (script.parent, archive, link, archive / "package" / "module.py"):
        assert detect_args(path, argv=["--n", "3"]) == {"n": 3}, path
    assert detect_args(archive / "package" / "none.py", argv=[]) is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"pass",
        b'"""No usage."""',
        b'"""usage:"""',
        b'"""usage: x ("""',
        b'"""usage: x --m"""',
        b"usage: x",
        b"print 'python 2'",
        b'"""usage: x"""\0',
        b"# coding: nonsense\n" + USAGE.encode(),
        b'"""usage: \xff [--n N]"""',
        b"(" * 10_000,
        b"\x7fELF" + bytes(100),
        b'"""usage: x [--n=N]"""\n' + b"#" * 5_000_000,
        b"PK\x05\x06" + bytes(18),
    ],
)
def test_unreadable_scripts_have_no_arguments(tmp_path: Path, text: bytes) -> None:
    assert detect_args(write(tmp_path, text), argv=[]) is None


def test_files_that_are_none_mean_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("missing.py", "pipe", "empty", "loop", "x" * 5000, "nul\0"):
        assert detect_args(tmp_path / name, argv=[]) is None, name


@pytest.mark.parametrize("argv", [["--wrong"], ["--n"], ["--help"], ["-h"], ["--version"]])
def test_a_command_line_that_ends_the_script_means_nothing(
    tmp_path: Path, argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    usage = "usage: x [options]\\n\\noptions:\\n -h --help\\n --version\\n --n=N\\n"
    script = write(tmp_path, f'@docopt_main(version=__version__)\ndef main(args):\n    "{usage}"\n')
    assert detect_args(script, argv=argv) is None
    assert capsys.readouterr() == ("", "")
    assert detect_args(script, argv=["--n", "1"]) == {"help": False, "version": False, "n": 1}


def test_help_may_be_an_argument_like_others(tmp_path: Path) -> None:
    script = write(tmp_path, '"""usage: x [--help]"""')
    assert detect_args(script, argv=["--help"], default_help=False) == {"help": True}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(["usage: x", "[", "]", "(", ")", "|", "...", "--a", "-b", "N", "<c>", "options", "\n", "  "])
    ),
    st.lists(st.sampled_from(["--a", "-b", "x", "--", "-", "", "--help", "\x00", "--a=1"])),
)
def test_no_text_makes_it_fail(tmp_path: Path, words: list[str], argv: list[str]) -> None:
    detect_args(write(tmp_path, repr(" ".join(words))), argv=argv)


def test_the_running_script_is_the_default_however_it_was_started(tmp_path: Path) -> None:
    expected = "{'help': False,\n 'n': 3}\n"
    write(tmp_path, TELLING)
    write(tmp_path, TELLING, "package/__init__.py")
    write(tmp_path, TELLING, "package/module.py")
    write(tmp_path, TELLING, "package/__main__.py")
    (tmp_path / "link").symlink_to("script.py")
    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as file:
        file.writestr("__main__.py", TELLING)
    assert python(tmp_path, "script.py", "--n", "3") == expected
    assert python(tmp_path, "link", "--n", "3") == expected
    assert python(tmp_path, "app.pyz", "--n", "3") == expected
    assert python(tmp_path, "package", "--n", "3") == expected
    # With -m the package is imported first, when there is no script yet.
    assert python(tmp_path, "-m", "package.module", "--n", "3").endswith(expected)
    assert python(tmp_path, "-m", "package", "--n", "3").endswith(expected)


def test_a_script_may_change_its_folder_before(tmp_path: Path) -> None:
    write(tmp_path, USAGE.replace("--n=N", "--other"), "elsewhere/script.py")
    write(tmp_path, TELLING.replace("print(", "os.chdir('elsewhere')\nprint("))
    assert "'n': 1" in python(tmp_path, "script.py")


@pytest.mark.parametrize(("options", "code"), [(["-c"], "from sqltrack.args import detect_args; print(detect_args())")])
def test_without_a_script_there_is_nothing(tmp_path: Path, options: list[str], code: str) -> None:
    write(tmp_path, USAGE, "-c")
    assert python(tmp_path, *options, code, "--n", "3") == "None\n"
    done = subprocess.run([sys.executable, "-"], input=code, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "None\n"


STORING = '''"""
usage: x [options] [--lr=R]... [<data-path>] [--z=Z] [--json=J] [--none=N]

options:
    -h --help  Show this.
    --lr R     [default: 0.1 0.2]
    --amp      Switch.
"""
import sys
import sqltrack
run = sqltrack.run_from_env(sqltrack.Client())
run.add_args("auto")
print("done")
'''


def store(config: dict[str, Any], folder: Path, *arguments: str) -> tuple[dict[str, Any] | None, str]:
    """Run a script that stores its arguments; return the stored arguments and the output."""
    client = sqltrack.Client(config)
    run = sqltrack.Experiment(client, name="detection").get_run()
    variables = database_variables(config)
    variables |= {"SQLTRACK_EXPERIMENT_ID": str(run.experiment_id), "SQLTRACK_RUN_ID": str(run.id)}
    script = write(folder, STORING)
    done = subprocess.run(
        [sys.executable, str(script), *arguments], env={**os.environ, **variables}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return client.execute("SELECT args FROM runs WHERE id = %s", (run.id,)).fetchone()[0], done.stdout


def test_the_stored_values_equal_the_converted_arguments(config: dict[str, Any], tmp_path: Path) -> None:
    arguments = [
        "--z",
        "1+2j",
        "--json",
        '{"a": [1, null]}',
        "--lr",
        "0.5",
        "--lr",
        "nan",
        "--none",
        "null",
        "--amp",
        "d/x",
    ]
    stored, printed = store(config, tmp_path, *arguments)
    detected = detect_args(tmp_path / "script.py", argv=arguments)
    assert detected is not None
    assert detected["data_path"] == Path("d/x")
    assert detected["z"] == 1 + 2j
    assert stored == plain(detected)
    assert stored == {
        "help": False,
        "lr": [0.5, "NaN"],
        "amp": True,
        "data_path": "d/x",
        "z": "(1+2j)",
        "json": {"a": [1, None]},
        "none": None,
    }
    assert convert_arguments({"--z": "1+2j"}) == {"z": 1 + 2j}
    assert printed == "done\n"


@pytest.mark.parametrize("argument", ["--help", "--nonsense"])
def test_asking_for_help_never_ends_a_program_that_stores_its_arguments(
    config: dict[str, Any], tmp_path: Path, argument: str
) -> None:
    assert store(config, tmp_path, argument) == (None, "done\n")
