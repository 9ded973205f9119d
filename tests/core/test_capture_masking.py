"""No credential of a known form reaches the database by a remote, command line, diff or output; other values do."""

from __future__ import annotations

import io
import json
import string
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sqltrack
from sqltrack.capture import _git_program
from sqltrack.capture._command import describe_command
from sqltrack.capture._git import without_login
from sqltrack.capture._output import OutputText

LETTERS = string.ascii_letters + string.digits


def texts(size: int, largest: int = 60) -> st.SearchStrategy[str]:
    return st.text(LETTERS, min_size=size, max_size=largest)


# Each is a text with a credential, and the credential.
PLANTED = st.one_of(
    texts(36, 36).map(lambda key: (f"ghp_{key}", key)),
    texts(40).map(lambda key: (f"hf_{key}", key)),
    texts(48).map(lambda key: (f"sk-proj-{key}", key)),
    texts(16, 16).map(lambda key: (f"AKIA{key.upper()}", key.upper())),
    texts(12).map(lambda key: (f"https://alice:{key}@example.org/x", key)),
    texts(12).map(lambda key: (f"postgresql://alice:{key}@db/runs", key)),
    texts(12).map(lambda key: (f"--password={key}", key)),
    texts(12).map(lambda key: (f"API_TOKEN={key}", key)),
    texts(12).map(lambda key: (f"WANDB_API_KEY={key}", key)),
    texts(40).map(lambda key: (f"Authorization: Bearer {key}", key)),
    texts(12).map(lambda key: (f"password: {key}", key)),
    texts(12).map(lambda key: (f"db:\n  - password: '{key}'", key)),
    texts(12).map(lambda key: (f"os.environ['HF_TOKEN'] = '{key}'", key)),
    texts(60, 60).map(lambda key: (f"-----BEGIN RSA PRIVATE KEY-----\n{key}\n-----END RSA PRIVATE KEY-----", key)),
)


@given(PLANTED, st.lists(texts(1, 10), max_size=4), st.lists(texts(1, 10), max_size=4))
def test_a_command_line_is_stored_without_credentials(
    planted: tuple[str, str], before: list[str], after: list[str]
) -> None:
    text, secret = planted
    shown = describe_command({}, ["python", *before, text, *after])
    assert secret not in json.dumps(shown)


@given(texts(12), st.sampled_from(["--password", "--api-key", "--hf-token", "--secret"]))
def test_the_word_after_an_option_for_a_credential_is_masked(secret: str, option: str) -> None:
    assert secret not in describe_command({}, ["train", option, secret, "x"])["argv"]


@given(texts(12), st.booleans())
@pytest.mark.parametrize(
    "command",
    [
        "sshpass -p {} ssh -p 22 host",
        "mysql -u root -p{} db",
        "docker login -u alice -p {} host",
        "curl -u alice:{} https://host",
        "curl -ualice:{} https://host",
        "curl --user alice:{} https://host",
        "redis-cli -a {}",
        "zip -P {} a.zip a",
        "openssl enc -k {}",
        "wandb login {}",
        "wandb login --relogin {}",
        "wandb login --host https://host {}",
        "wandb login --host=https://host --cloud {} x",
        "python -m wandb login --verify {}",
    ],
)
def test_a_credential_of_a_known_program_is_masked(command: str, secret: str, is_after_another: bool) -> None:
    words = [*(["env"] if is_after_another else []), *command.split()]
    shown = describe_command({}, [word.format(secret) for word in words])["argv"]
    assert shown == [word.format("***") for word in words]
    unmasked = describe_command({"mask": False}, [word.format(secret) for word in words])["argv"]
    assert unmasked == [word.format(secret) for word in words]


def test_options_of_other_programs_stay() -> None:
    for command in (
        "wandb login --host https://host",
        "wandb sync login-1",
        "ssh -p 22 host",
        "docker run -p 80:80 -u 1000:1000 image",
        "mkdir -p a",
        "train -k 5 -a b -P c",
    ):
        assert describe_command({}, command.split())["argv"] == command.split()


def test_a_long_command_line_is_cut() -> None:
    found = describe_command({}, ["cat", *(f"file-{number}.txt" for number in range(100_000))])
    assert found["argv_cut"] is True
    assert 5_000 > len(found["argv"]) > 1_000
    assert "argv_cut" not in describe_command({}, ["cat", "file"])


def test_numbers_of_tokens_are_no_credentials() -> None:
    argv = ["python", "train.py", "--num-tokens", "4096", "--max_tokens=128", "num_tokens=77"]
    assert describe_command({}, argv)["argv"] == argv


@given(texts(8, 20), texts(8), st.sampled_from(["https", "http", "ssh", "git+https"]))
def test_a_remote_is_stored_without_its_password(user: str, secret: str, scheme: str) -> None:
    assert secret not in without_login(f"{scheme}://{user}{secret[:0]}:{secret}@example.org/team/p.git").replace(
        user, ""
    )


@given(PLANTED, st.integers(1, 200))
def test_output_is_stored_without_credentials(planted: tuple[str, str], size: int) -> None:
    """Whatever the pieces in which it is written."""
    text, secret = planted
    whole = f"epoch 1\n{text}\nloss 0.5\n"
    output = OutputText()
    for begin in range(0, len(whole), size):
        output.write(whole[begin : begin + size])
    shown = output.read()["text"]
    assert secret not in shown
    assert shown.startswith("epoch 1\n")
    assert shown.endswith("loss 0.5\n")


@given(PLANTED, st.integers(0, 400))
def test_the_kept_end_of_long_output_holds_no_credentials(planted: tuple[str, str], place: int) -> None:
    text, secret = planted
    output = OutputText(limit=200)
    output.write("x" * 150 + "\n" + "y\n" * place + text + "\n" + "z\n" * 60)
    assert secret not in output.read()["text"]


@settings(max_examples=25)
@given(PLANTED)
def test_a_diff_is_stored_without_credentials(planted: tuple[str, str]) -> None:
    text, secret = planted
    lines = "".join(f"+{line}\n" for line in text.splitlines())
    diff = f"diff --git a/x b/x\n@@ -1 +1,9 @@\n-old = 1\n{lines}+num_tokens = 4096\n".encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_git_program, "_run_git", lambda *_: _git_program._Output(diff, False))
        found = _git_program.read_diff("/x", 0.0)
    assert secret not in json.dumps(found)
    if "PRIVATE KEY" not in text:
        assert "+num_tokens = 4096" in found["diff"]


def test_nothing_planted_reaches_the_database(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = "s3cr3tW0rdThatNobodyGuesses"
    client = sqltrack.Client({**config, "capture": "all"})
    monkeypatch.setattr(sys, "orig_argv", ["python", "train.py", f"--token={planted}", "--num_tokens=4096"])
    monkeypatch.setenv("MY_API_KEY", planted)
    (tmp_path / ".git" / "objects").mkdir(parents=True)
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (tmp_path / ".git" / "config").write_text(f'[remote "origin"]\n\turl = https://x:{planted}@example.org/p\n')
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with sqltrack.track("x", client=client) as run:
        print(f"password={planted}")
    (row,) = client.execute("SELECT extras, env, args FROM runs WHERE id = %s", (run.id,))
    stored = json.dumps(list(row))
    assert planted not in stored
    assert "--num_tokens=4096" in stored
