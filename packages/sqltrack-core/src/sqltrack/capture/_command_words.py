"""Mask the credentials in a command line that only its program makes credentials, such as the option -p of sshpass."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from sqltrack._masking import MASK

__all__ = ["masked_words"]

# By program: the words after which a credential follows.
_WORDS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("docker", "podman", "sshpass"), frozenset({"-p"})),
    **dict.fromkeys(("mongo", "mongosh", "mongodump", "mongorestore"), frozenset({"-p"})),
    **dict.fromkeys(("zip", "unzip"), frozenset({"-P"})),
    "curl": frozenset({"-b", "-E"}),
    "openssl": frozenset({"-k", "-K", "-pass", "-passin", "-passout"}),
    "redis-cli": frozenset({"-a"}),
}

# Of these, the option is followed by a credential only after this word; elsewhere it is a port.
_COMMANDS: Mapping[str, str] = {"docker": "login", "podman": "login"}

# By program: the command whose argument is a credential, and its options that a value follows.
_ARGUMENTS: Mapping[str, tuple[str, frozenset[str]]] = {"wandb": ("login", frozenset({"--host"}))}

# Programs with a credential in the same word as its option.
_ATTACHED = re.compile(r"(?:mysql|mariadb)[\w-]*|sshpass")

_USER = re.compile(r"-[uU]|--(?:proxy-)?user")
_LOGIN = re.compile(r"(?P<before>(?:-[uU])?(?!\d+:\d+\Z)[^\s:/]{1,80}:)(?!/).+", re.DOTALL)


def masked_words(words: Sequence[str]) -> list[str]:
    """Return the words of a command line, masked where the program or the word before makes one a credential.

    Args:
        words: program and arguments; the program can follow others, as in `env curl …`.
    """
    found = list(words)
    program = ""
    is_active = False
    is_argument = False
    for index, word in enumerate(words):
        before = words[index - 1] if index else ""
        name = os.path.basename(word)
        if is_active and before in _WORDS.get(program, ()) and not word.startswith("-"):
            found[index] = MASK
            # What follows is another program, such as ssh, whose -p is a port.
            is_active = program != "sshpass"
        elif _ATTACHED.fullmatch(program) and word.startswith("-p") and len(word) > 2:
            found[index] = f"-p{MASK}"
        elif _USER.fullmatch(before) or (program == "curl" and word.startswith("-u")):
            found[index] = _LOGIN.sub(rf"\g<before>{MASK}", word)
        elif is_argument:
            if not word.startswith("-") and before not in _ARGUMENTS[program][1]:
                found[index] = MASK
                is_argument = False
        elif name in _WORDS or name in _ARGUMENTS or _ATTACHED.fullmatch(name):
            program, is_active = name, name not in _COMMANDS
        elif program in _ARGUMENTS and word == _ARGUMENTS[program][0]:
            is_argument = True
        elif word == _COMMANDS.get(program):
            is_active = True
    return found
