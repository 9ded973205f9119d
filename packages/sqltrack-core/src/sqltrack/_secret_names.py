"""Tell by its name whether a variable, argument or parameter is a credential."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Sequence

__all__ = ["holds_secrets", "is_login_name", "is_secret_name"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that tell several credentials apart. They stand last, after the word that matters.
_QUALIFIERS = _words(
    "B BACKUP BASE DEFAULT DEV DEVELOPMENT HEX LIVE NEW OLD PRIMARY PROD PRODUCTION READ READONLY RO RW SECONDARY "
    "STAGING TEST V WRITE"
)

# A name that begins with one of these is a switch.
_SWITCHES = _words("ALLOW DISABLE ENABLE HAS HIDE IS NO REQUIRE SHOW SKIP USE WITH WITHOUT")

# A name that ends with one of these describes a credential, such as the file that contains it.
_ABOUT = _words(
    "ALGORITHM COMMAND COUNT DIR DIRECTORY ENABLED ENCRYPTION ENDPOINT EXPIRATION EXPIRES EXPIRY FIELD FILE FILENAME "
    "FILES FOLDER HELPER HOST ISSUER LEN LENGTH MANAGER METHOD MODE NAME NAMES PATH PATHS POLICY PORT PROMPT PROVIDER "
    "REQUIRED ROTATION SCOPE SCOPES SIZE SOCK SOCKET STORE TIMEOUT TTL TYPE URI URL"
)

# Words for a credential anywhere in a name.
_ANYWHERE = _words("CRED CREDENTIAL CREDENTIALS CREDS PASSPHRASE PASSWD PASSWORD PASSWORDS SECRET SECRETS")
_PAIRS_ANYWHERE = frozenset(
    {
        *((first, last) for first in ("ACCESS", "API", "PRIVATE") for last in ("KEY", "KEYS")),
        *(("PASS", "WORD"), ("PASS", "PHRASE"), ("AUTH", "CONFIG"), ("ID", "RSA"), ("ID", "ED"), ("SSH", "PRIVATE")),
        *(("IDENTITY", "HEADER"), ("SCRAM", "CLIENT"), ("SCRAM", "SERVER")),
    }
)
# Words that are written together.
_JOINED = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?$|SECRETS?$|(?:API|ACCESS|PRIVATE|SECRET)KEYS?$"
    # Misspelled, or in German.
    r"|P(?:A?S{1,3}W[OR]{1,2}D|AS{1,3}WOR[DT])S?$|PASSWORT|KENNWORT"
    r"|^(?:ACCOUNT|AUTH|DEPLOY|ENCRYPTION|MASTER|SIGNING|SSH|STORAGE)KEY$"
    r"|^(?:ADMIN|DB|FTP|LDAP|MAIL|MY|MYSQL|PG|REDIS|ROOT|SMTP|SQL|SSH|USER)(?:PASS|PWD|PW)$"
)

# Words for a credential at the end of a name, unless the word before is one of these; "" stands for no word before.
_WHAT_MODELS_READ = _words(
    "ADDITIONAL ANSWER AUDIO BASE BATCH BEGIN BOS CLASS CLS CONTEXT DECODER DIST DISTILL DISTILLATION DOCUMENT ENCODER "
    "END EOD EOS EOT EXTRA FIM FIRST FRAME IMAGE IMG INPUT LABEL LANG LANGUAGE LAST MASK MESSAGE MIDDLE MODALITY MULTI "
    "NEXT OUTPUT PAD PADDING PAIR PATCH PLACEHOLDER PREFIX PROMPT QUERY QUESTION REASONING REGISTER RESPONSE SEP "
    "SEPARATOR SINGLE SOS SPECIAL SPEECH START STOP SUB SUFFIX TARGET TEXT THINK THINKING TIME TOOL UNK UNKNOWN "
    "VIDEO VISION VISUAL VOCAB WORD"
)
_AMOUNTS = _words("A AVERAGE AVG BY COST EACH EVERY LOSS MAX MEAN MIN N NUM NUMBER OF PER PRICE TOTAL")
_WHAT_KEYS_OPEN = _words(
    "ACTION ATTENTION BUCKET CACHE CHECKPOINT CKPT COLUMN CONFIG DATA DATASET DICT EDGE EMA ENTITY FEATURE FOREIGN GPG "
    "GROUP HASH HOT INDEX ITEM JOIN JSON LABELS LOGITS LOOKUP MAP MATCH META METADATA METRIC MODEL MONITOR NODE OBS "
    "OBSERVATION OPTIMIZER ORDER PARAM PARAMETER PARTITION PGP PRIMARY PRNG PROPRIO PUBLIC RANDOM REWARD RNG ROUTING "
    "ROW SCORE SHARD SHORTCUT SORT SORTING SPLIT STATE STUDENT TEACHER TRANSLATION UNIQUE VALUE WEIGHT WEIGHTS"
)
_FILTERS_AND_ROUNDS = _words(
    "ALL BACK BACKWARD BAND EVAL FINAL FORWARD HIGH LAST LOW MULTI NOTCH ONE SECOND SINGLE THREE TRAIN TWO VAL"
)
_PLACES = _words("BASE BUILD CURRENT HOST INIT INITIAL LAST OLD ORIG ORIGINAL PREV PROJECT SCRIPT START WORK")
_LAST: dict[str, frozenset[str]] = {
    **dict.fromkeys(("AUTH", "AUTHORIZATION", "BEARER", "COOKIE", "COOKIES", "JWT", "TOTP", "WEBHOOK"), frozenset()),
    # Cookies of web servers. Elsewhere a session id is not a credential; recordings have one, too.
    **dict.fromkeys(("JSESSIONID", "PHPSESSID"), frozenset()),
    "KEY": _WHAT_MODELS_READ | _WHAT_KEYS_OPEN | _AMOUNTS | {""},
    "OTP": frozenset(),
    "PASS": _FILTERS_AND_ROUNDS | _AMOUNTS | {"FIRST"},
    "PAT": _words("EXCLUDE FILE GLOB INCLUDE MATCH NAME REGEX SEARCH"),
    "PIN": frozenset(),
    "PW": frozenset(),
    "PWD": _PLACES,
    "SAS": frozenset({""}),
    "TOKEN": _WHAT_MODELS_READ | _AMOUNTS,
}
# In the plural these are amounts, or names of other things, unless the word before says otherwise.
_LAST_WITH = {
    "HEADERS": _words("AUTH OTLP"),
    "KEYS": _words("SSH SIGNING MASTER ENCRYPTION DEPLOY"),
    "TOKENS": _words("ACCESS API AUTH BEARER REFRESH"),
}

# Names of users, after which a colon and a password may follow.
_LOGINS = _words("DBNAME LOGIN USER USERNAME")

# The working folder in shells.
_HARMLESS = frozenset({"PWD", "OLDPWD"})


@functools.lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Return whether a text with this name is a credential.

    The name is read word by word, whether it is spelled HF_TOKEN, hf-token, hfToken or HFToken. Some words mean a
    credential anywhere; TOKEN, KEY, PASS and the like only at the end, and not after words such as CLS or SORT.
    """
    words = _read_words(name)
    if name in _HARMLESS or not words or _is_about(words):
        return False
    if _is_secret_anywhere(words):
        return True
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last in _LAST_WITH:
        return before in _LAST_WITH[last]
    if last in _LAST:
        return before not in _LAST[last]
    # HFTOKEN, which is two words, but not other words that end with these letters.
    return last.endswith("TOKEN") and last.removesuffix("TOKEN") not in _LAST["TOKEN"]


@functools.lru_cache(maxsize=4096)
def holds_secrets(name: str) -> bool:
    """Return whether all texts in a dict with this name are credentials, whatever their own names."""
    words = _read_words(name)
    return not _is_about(words) and _is_secret_anywhere(words)


@functools.lru_cache(maxsize=4096)
def is_login_name(name: str) -> bool:
    """Return whether a text with this name is a user name, which a password may follow: alice:secret."""
    words = _read_words(name)
    return bool(words) and words[-1] in _LOGINS


def _read_words(name: str) -> list[str]:
    """Return the words of a name in upper case, without digits and words that tell credentials apart."""
    words = [word.upper() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    while len(words) > 1 and words[-1] in _QUALIFIERS:
        words.pop()
    return words


def _is_about(words: Sequence[str]) -> bool:
    """Return whether a name that mentions a credential only describes it."""
    if not words or (len(words) > 1 and words[0] in _SWITCHES):
        return True
    # The address of a webhook is enough to write to it.
    return words[-1] in _ABOUT and "WEBHOOK" not in words[-2:]


def _is_secret_anywhere(words: Sequence[str]) -> bool:
    if words[-2:] in (["WEBHOOK", "URL"], ["WEBHOOK", "URI"], ["WEBHOOK", "ENDPOINT"]):
        return True
    if not _ANYWHERE.isdisjoint(words) or any(_JOINED.search(word) for word in words):
        return True
    return not _PAIRS_ANYWHERE.isdisjoint(itertools.pairwise(words))
