"""Mask credentials in texts, recognized by their position and their form."""

from __future__ import annotations

import functools
import re
import urllib.parse
from collections.abc import Callable

from sqltrack._secret_names import holds_secrets, is_login_name, is_secret_name

__all__ = ["MASK", "holds_secret", "is_key_line", "masked", "masked_text"]

MASK = "***"

# Values for a switch or for nothing, which are never masked, whatever their names.
_HARMLESS_TEXTS = frozenset({"", "true", "false", "yes", "no", "on", "off", "none", "null", "0", "1"})

# Names of credentials in the query of a URL, where they are shorter.
_SECRET_QUERY_NAMES = frozenset({"sig", "signature", "key", "code", "x-amz-signature", "x-amz-credential"})

# Passwords that services expect if the user name is a token.
_NO_PASSWORDS = frozenset({"api-token", "api_token", "x-access-token", "x-oauth", "x-oauth-basic"})

# In these URLs, a user name without a password is a token.
_WEB_SCHEMES = ("http", "git+http")


def masked(name: str, value: str) -> str:
    """Do the work of `sqltrack.config.masked`."""
    if value.lower() in _HARMLESS_TEXTS:
        return value
    if is_secret_name(name):
        return MASK
    return masked_text(_user_and_password().sub(rf"\1:{MASK}", value) if is_login_name(name) else value)


def holds_secret(text: str) -> bool:
    """Return whether a text mentions credentials, such as "the password is", or contains some."""
    return masked_text(text) != text or any(is_secret_name(word) for word in re.findall(r"\w+", text))


def masked_text(text: str) -> str:
    """Return a text with its credentials masked.

    These are passwords and tokens in URLs; values of credentials in connection strings, assignments, command line
    options, JSON and headers; private keys; and the tokens of some services, which are recognized by their prefixes.
    """
    for sign, pattern, replacement in _RULES:
        if sign in text:
            text = pattern().sub(replacement, text)
    if "[" in text or "{" in text:
        text = _mask_containers(text)
    return _mask_assignments(text) if "=" in text or "<-" in text else text


# Types of texts in code, and the letters before a text in Python.
_TYPE = r"(?:str|string|String|bytes|Optional\[str\]|str \| None|(?:typing\.)?(?:Final|ClassVar)(?:\[(?:str|bytes)\])?)"
_PREFIX = r"[bBfFrRuU]{0,2}"


# The places of credentials in a text. Repetitions have limits, so that matching takes linear time.


@functools.cache
def _known_forms() -> re.Pattern[str]:
    return re.compile(
        r"\b(?:gh[opsur]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{30,}"
        r"|sk-(?:proj|ant|or|svcacct)-[\w-]{16,}|sk-[A-Za-z0-9]{32,}|xox[a-z]-[\w-]{10,}|AIza[\w-]{30,}"
        r"|[sr]k_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{20,}|(?:AKIA|ASIA)[A-Z0-9]{16}\b"
        r"|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{30,}|dckr_pat_[\w-]{20,}|ya29\.[\w-]{20,}"
        r"|nvapi-[\w-]{20,}|(?:gsk|r8)_[A-Za-z0-9]{20,}|dapi[0-9a-f]{32}|lsv2_(?:pt|sk)_\w{20,}"
        r"|SG\.[\w-]{16,}\.[\w-]{16,}|ATATT3[\w=-]{20,}|tskey-[\w-]{20,}"
        r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]*)"
        r"|(?<=hooks\.slack\.com/)(?:services|workflows|triggers)/[^\s\"']+"
        r"|(?<=/api/webhooks/)\d+/[^\s\"']+"
        r"|(?<=/bot)\d{5,20}:[\w-]{35,}"
        r"|(?<=\.webhook\.office\.com/)[^\s\"']+"
    )


# What may stand between the words of a private key, also in code, YAML, a diff, and JSON with its escaped new lines.
_KEY_SIGNS = r"(?:[\s\"'`,;(|>#*-]|\\(?:[nr]|(?![nr]))|\+(?![A-Za-z0-9+/]))"
# A long word of a private key, or a line that is a shorter one, but not a word or number of another text.
_KEY_WORD = (
    r"(?:[A-Za-z0-9+/]{32,}={0,2}(?![\w.:=+/(\[-])"
    r"|(?!(?:\+|[A-Z]?[a-z]{0,15}|[A-Z]{1,15}|[0-9]{1,15})(?![A-Za-z0-9+/]))=?[A-Za-z0-9+/]{1,200}={0,2}(?![A-Za-z0-9+/=])"
    r"(?=[ \t\"'`,;)]{0,8}\+?[ \t]{0,8}(?:\\|\r?\n|\Z)))"
)
_KEY_HEADER = r"\+?(?:Proc-Type|DEK-Info|Version|Comment):[^\r\n\"'\\]{0,200}"


@functools.cache
def _private_key() -> re.Pattern[str]:
    """A private key up to its end, or what looks like one if it has no end: a text may only mention the first line."""
    return re.compile(
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY[^-]{0,20}-----(?:"
        r"(?:(?!-----BEGIN ).){0,20000}?-----END [A-Z ]{0,40}PRIVATE KEY[^-]{0,20}-----"
        rf"|(?:{_KEY_SIGNS}{{1,80}}(?:{_KEY_WORD}|{_KEY_HEADER})){{1,400}}"
        # At the end of the text, the last word may be cut.
        rf"(?:{_KEY_SIGNS}{{1,80}}[A-Za-z0-9+/]{{1,200}}={{0,2}}\Z)?)",
        re.DOTALL,
    )


@functools.cache
def _key_line() -> re.Pattern[str]:
    return re.compile(
        rf"{_KEY_SIGNS}{{0,80}}(?:{_KEY_HEADER}|(?:{_KEY_WORD}{_KEY_SIGNS}{{0,80}}){{1,400}})\Z"
        # With anything before it, such as a time.
        r"|.{0,200}?[A-Za-z0-9+/]{60}"
    )


def is_key_line(line: str) -> bool:
    """Return whether a line after the first one of a private key looks like the key."""
    return _key_line().match(line) is not None


@functools.cache
def _url() -> re.Pattern[str]:
    # A path collapses the two slashes of an address that was taken for a file.
    return re.compile(r"(?<![A-Za-z0-9])([A-Za-z][A-Za-z0-9+.-]{0,20}):(/{1,3})(\S*@[^\s\"'<>`]*)")


@functools.cache
def _url_with_blanks() -> re.Pattern[str]:
    """A URL that is the whole text, whose password may contain blanks that should have been escaped."""
    return re.compile(
        r"\A([A-Za-z][A-Za-z0-9+.-]{0,20}:/{1,3}[^\s/:@]{0,200}:)(?!\d{1,5}[/?#,])"
        r"[^\s@]{0,200}\s(?:(?!://).){0,400}(@[^\s@]{1,400})\Z"
    )


@functools.cache
def _login() -> re.Pattern[str]:
    """A login before a host, without a scheme: alice:secret@host:3128, but not repository:tag@sha256:…"""
    return re.compile(r"(?<![\w./:@])([\w.%+-]{1,80}):([^\s@/:\"']{1,200})@(?!sha\d+:)(?=[\w.-]+(?:[:/]|\Z|\s))")


@functools.cache
def _user_and_password() -> re.Pattern[str]:
    """The value of a login that also contains a password, but not the numbers of a user and group."""
    return re.compile(r"\A([^\s:/@]{1,80}):(?!//|\d+\Z)\S.*\Z", re.DOTALL)


@functools.cache
def _token() -> re.Pattern[str]:
    """A user name that is too long for one, and contains digits and letters."""
    return re.compile(r"(?=[^\d]*\d)(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9_.~-]{20,500}")


@functools.cache
def _assigned_name() -> re.Pattern[str]:
    # In code, the name may be a key in brackets or have a type, and R and other languages assign by other signs.
    return re.compile(
        r"(?P<before>[?&]?)(?<!\w)(?P<name>[A-Za-z_%][\w.%\[\]-]{0,80})"
        rf"(?:['\"]\])?(?:\s{{0,8}}:\s{{0,8}}{_TYPE})?"
        r"\s{0,8}(?:[:?]?=>?|<-)\s{0,8}(?!=)"
    )


@functools.cache
def _assigned_value(is_query: bool) -> re.Pattern[str]:
    rest = r"[^\s&]" if is_query else r"\S"
    return re.compile(
        rf"(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")[^\s&,;)\]}}]*|[\[(](?=\s{{0,8}}['\"])[^\])\n]{{0,1000}}[\])]|{rest}+"
    )


@functools.cache
def _json_item() -> re.Pattern[str]:
    return re.compile(
        rf"(?P<before>(?P<quote>[\"'])(?P<name>[^\"'\\\s]{{1,80}})(?P=quote)\s{{0,8}}:\s{{0,8}}{_PREFIX})"
        r"(?P<value>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')"
    )


@functools.cache
def _escaped_json_item() -> re.Pattern[str]:
    """An item of JSON inside of a JSON text, whose quotes are escaped once or more."""
    return re.compile(
        r"(?P<before>(?<!\\)(?P<quote>\\{1,15}[\"'])(?P<name>[^\"'\\\s]{1,80})(?P=quote)\s{0,8}:\s{0,8}(?P=quote))"
        r"(?P<value>.*?)(?=(?<!\\)(?P=quote)|\Z)",
        re.DOTALL,
    )


@functools.cache
def _line() -> re.Pattern[str]:
    """A line of YAML or of a log, whose value is one word or quoted: a sentence can follow such a name, too.

    In a diff, a sign stands before it.
    """
    return re.compile(
        r"^(?P<before>[+-]?[ \t]{0,80}(?:-[ \t]{1,8})?(?P<name>[A-Za-z_][\w.-]{0,80})[ \t]{0,8}:[ \t]{1,8})"
        r"(?P<value>\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|\[[^\]\n]*\]|[^\s\"']\S*)(?=[ \t]{0,8}(?:[ \t]#[^\n]*)?\r?$)",
        re.MULTILINE,
    )


@functools.cache
def _list_items() -> re.Pattern[str]:
    """A YAML list with one line for each item, and its name, also in a diff."""
    return re.compile(
        r"^(?P<before>[+-]?[ \t]{0,80}(?:-[ \t]{1,8})?(?P<name>[A-Za-z_][\w.-]{0,80})[ \t]{0,8}:[ \t]{0,8}\r?\n)"
        r"(?P<value>(?:[+-]?[ \t]{0,80}-[ \t]{1,8}[^\n]*(?:\n|\Z))+)",
        re.MULTILINE,
    )


@functools.cache
def _flow_item() -> re.Pattern[str]:
    """An item of a YAML object on one line, which needs no quotes."""
    return re.compile(
        r"(?P<before>(?<=[{,])\s{0,8}(?P<name>[A-Za-z_][\w.-]{0,80}):\s{1,8})"
        r"(?P<value>[^\s,{}\[\]\"']+)(?=\s{0,8}[,}])"
    )


@functools.cache
def _element() -> re.Pattern[str]:
    return re.compile(r"(?P<before><(?P<name>[A-Za-z][\w.:-]{0,80})>)(?P<value>[^<>]{1,1000})(?=</)")


@functools.cache
def _netrc() -> re.Pattern[str]:
    return re.compile(r"(?P<before>\blogin\s{1,8}\S{1,200}\s{1,8}password\s{1,8})\S+")


@functools.cache
def _user_option() -> re.Pattern[str]:
    """The options of curl for a user and password, but not the numbers of a user and group."""
    return re.compile(
        r"(?P<before>(?<![\w-])(?:-[uU]|--(?:proxy-)?user)[ \t=]{1,8}['\"]?"
        r"(?!\d+:\d+\b)[^\s:'\"/]{1,80}:)(?!/)[^\s'\"]+"
    )


@functools.cache
def _program_option() -> re.Pattern[str]:
    """The option -p of programs that use it for a password."""
    return re.compile(
        r"(?P<before>\bsshpass\s{1,8}-p\s{0,8}|\b(?:docker|podman)\s{1,8}login\s(?:[^\n;|]{0,200}?\s)?-p\s{0,8}"
        r"|\b(?:mysql|mariadb)[\w-]{0,20}\s(?:[^\n;|]{0,200}?\s)?-p)(?P<value>['\"]?[^\s]+)"
    )


@functools.cache
def _option() -> re.Pattern[str]:
    return re.compile(
        r"(?<![\w-])(?P<before>(?P<name>--?[A-Za-z][\w.-]{1,80})[ \t]{1,8})"
        r"(?P<value>'[^']*'|\"[^\"]*\"|[^\s\"'-][^\s]*)"
    )


@functools.cache
def _option_item() -> re.Pattern[str]:
    """An option and its value as items of a list, also in a diff and in JSON inside of a JSON text."""
    return re.compile(
        r"(?P<before>(?<!\\)(?P<quote>\\{0,15}[\"'])(?P<name>--?[A-Za-z][\w.-]{1,80})(?P=quote)\s{0,8},\s{0,80}"
        rf"(?:[+-]\s{{0,80}})?{_PREFIX}(?P<open>\\{{0,15}}[\"'])(?!-))"
        r"(?P<value>.*?)(?=(?<!\\)(?P=open)|\n|\Z)"
    )


@functools.cache
def _basic_auth() -> re.Pattern[str]:
    """A call with a user and a password."""
    return re.compile(
        rf"(?P<before>\bHTTP(?:Basic|Digest|Proxy)Auth\(\s{{0,80}}[^\n,]{{1,200}},\s{{0,80}}{_PREFIX})"
        r"(?P<quote>[\"'])(?:(?!(?P=quote))[^\\\n]|\\.)+(?P=quote)"
    )


@functools.cache
def _read_variable() -> re.Pattern[str]:
    """A call that reads a variable, and the text that it returns without one."""
    return re.compile(
        r"(?P<before>\b(?:getenv|environ\.(?:get|pop))\(\s{0,80}['\"](?P<name>\w{1,80})['\"]\s{0,8},\s{0,80}"
        rf"(?:default\s{{0,8}}=\s{{0,8}})?{_PREFIX})"
        r"(?P<value>'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\")"
    )


@functools.cache
def _variable() -> re.Pattern[str]:
    """A call that sets a variable by its name, or a line of a shell or Dockerfile that does so without a sign."""
    return re.compile(
        r"(?P<before>(?:\b(?:setdefault|set_?env|putenv)\(\s{0,8}['\"](?P<name>\w{1,80})['\"]\s{0,8},\s{0,8})"
        r"|^[+-]?[ \t]{0,80}(?:ENV|setenv|set[ \t]-g?x)[ \t]{1,8}(?P<word>\w{1,80})[ \t]{1,8})"
        r"(?P<value>'[^'\n]*'|\"[^\"\n]*\"|[^\s'\"]+)",
        re.MULTILINE,
    )


@functools.cache
def _told() -> re.Pattern[str]:
    """A credential in a sentence or a line of a log, which must look like one: a token can be a word, too."""
    return re.compile(
        r"(?P<before>(?<![\w/-])(?:password|passwd|passphrase|secret|token|api[ _-]?key)[ \t]{0,4}"
        r"(?::|\bis\b)[ \t]{0,8})"
        r"(?=\S{0,80}\d)(?=\S{0,80}[A-Za-z])[^\s\"'*]{12,}",
        re.IGNORECASE,
    )


@functools.cache
def _header() -> re.Pattern[str]:
    return re.compile(
        r"(?P<before>\b(?:(?:Proxy-)?Authorization|(?:Set-)?Cookie|X-[A-Za-z-]{0,40}(?:Key|Token))\s{0,4}:\s{0,4})"
        r"(?P<value>[^\r\n\"']+)",
        re.IGNORECASE,
    )


def _mask_url(match: re.Match[str]) -> str:
    scheme, slashes, rest = match.groups()
    others = ""
    quote = match.string[match.start() - 1 : match.start()]
    if quote and quote in "\"'`":
        # A quoted URL ends at its quote; other quotes may be part of the password.
        end = re.search(rf"(?<!\\){quote}(?=[,;:)\]}}]|$)", rest)
        if end is not None and "@" in rest[: end.start()]:
            rest, others = rest[: end.start()], rest[end.start() :]
    is_web = scheme.lower().startswith(_WEB_SCHEMES)
    login, host = _split_login(rest, is_web)
    user, colon, password = login.partition(":")
    if colon and password:
        # Some services take the token as the user name, and ignore the password.
        login = _masked_login(user, password)
    elif is_web and user:
        login = MASK
    return f"{scheme}:{slashes}{login}{host}{masked_text(others)}"


def _masked_login(user: str, password: str) -> str:
    is_token = password.lower() in _NO_PASSWORDS or _token().fullmatch(user) is not None
    return f"{MASK if is_token and user else user}:{MASK}"


def _split_login(rest: str, is_web: bool) -> tuple[str, str]:
    """Split the part of a URL after its slashes before the @ of its host, if any.

    The password may contain an @ or / that should have been escaped. Paths of web pages may contain an @, too.
    """
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if is_web and "@" in authority:
        end = authority.rindex("@")
    elif "@" in authority or re.match(r"[^:/?#]*:(?!\d{0,5}(?:[/?#,\"'`>]|$))", rest):
        end = rest.rindex("@")
    else:
        end = 0
    return rest[:end], rest[end:]


@functools.cache
def _container() -> re.Pattern[str]:
    """The beginning of a list or object in JSON, also in JSON inside of a JSON text, and its name."""
    return re.compile(
        r"(?<!\\)(?P<quote>\\{0,15}[\"'])(?P<name>[^\"'\\\s]{1,80})(?P=quote)\s{0,8}:\s{0,8}(?P<open>[\[{(])"
    )


@functools.cache
def _container_part(quote: str) -> re.Pattern[str]:
    """A string, which may be a key, or a bracket. Unescaped strings can have two kinds of quotes, as in Python."""
    strings = [rf"{re.escape(quote)}.*?(?:(?<!\\){re.escape(quote)}|\Z)"]
    if len(quote) == 1:
        strings = [rf"{sign}(?:[^{sign}\\]|\\.)*(?:{sign}|\Z)" for sign in "'\""]
    return re.compile(rf"(?P<text>{'|'.join(strings)})(?P<key>\s{{0,8}}:)?|[\[\](){{}}]", re.DOTALL)


def _mask_containers(text: str) -> str:
    """Mask the texts in lists and objects that have names of credentials."""
    parts = []
    done = 0
    for match in _container().finditer(text):
        is_secret = is_secret_name if match["open"] != "{" else holds_secrets
        if match.start() < done or not is_secret(match["name"]):
            continue
        parts.append(text[done : match.start("open")])
        masked, done = _mask_container(text, match.start("open"), match["quote"])
        parts.append(masked)
    return "".join((*parts, text[done:]))


def _mask_container(text: str, begin: int, quote: str) -> tuple[str, int]:
    """Return a list or object with its texts masked, and the position of its end."""
    parts: list[str] = []
    done = begin
    depth = 0
    for part in _container_part(quote).finditer(text, begin):
        if part["text"] is None:
            depth += 1 if part[0] in "[({" else -1
            if depth == 0:
                return "".join((*parts, text[done : part.end()])), part.end()
        elif part["key"] is None and part["text"].strip("\\'\"").lower() not in _HARMLESS_TEXTS:
            parts += [text[done : part.start()], quote, MASK, quote]
            done = part.end()
    return "".join((*parts, text[done:])), len(text)


def _mask_assignments(text: str) -> str:
    """Mask the values assigned to names of credentials; other values may contain assignments themselves."""
    parts = []
    done = 0
    for match in _assigned_name().finditer(text):
        if match.start() < done or not _is_assigned(match):
            continue
        value = _assigned_value(match["before"] != "").match(text, match.end())
        if value is not None and value[0].strip("'\"").lower() not in _HARMLESS_TEXTS:
            parts += [text[done : value.start()], MASK, _closing(value[0])]
            done = value.end()
    return "".join((*parts, text[done:]))


def _is_assigned(match: re.Match[str]) -> bool:
    """Return whether an assigned name is that of a credential."""
    before, name = match.group("before", "name")
    if "%" in name:
        name = urllib.parse.unquote(name)
    if name.upper() == "PWD":
        return _connection_words().search(match.string) is not None
    return is_secret_name(name) or (before != "" and name.lower() in _SECRET_QUERY_NAMES)


@functools.cache
def _connection_words() -> re.Pattern[str]:
    """The words next to PWD where it is a password, as in ODBC, and not the working folder."""
    return re.compile(r"(?<!\w)(?:uid|user id|driver|server|dsn|data source)\s{0,8}=", re.IGNORECASE)


def _mask_escaped(match: re.Match[str]) -> str:
    before, name, value = match.group("before", "name", "value")
    return match[0] if not is_secret_name(name) or value.lower() in _HARMLESS_TEXTS else f"{before}{MASK}"


def _mask_variable(match: re.Match[str]) -> str:
    name, value = match["name"] or match["word"], match["value"]
    if not is_secret_name(name) or value.strip("'\"").lower() in _HARMLESS_TEXTS:
        return match[0]
    quote = value[0] if value[0] in "'\"" else ""
    return f"{match['before']}{quote}{MASK}{quote or _closing(value)}"


def _mask_list_items(match: re.Match[str]) -> str:
    before, name, items = match.group("before", "name", "value")
    if not is_secret_name(name):
        return match[0]
    return before + re.sub(r"(?m)^([+-]?[ \t]*-[ \t]+)[^\r\n]+", rf"\1{MASK}", items)


def _mask_named(match: re.Match[str]) -> str:
    before, name, value = match.group("before", "name", "value")
    inner = value.strip("'\"")
    if not is_secret_name(name) or inner.lower() in _HARMLESS_TEXTS:
        return match[0]
    return f"{before}{value[0]}{MASK}{value[0]}" if value[0] in "'\"" else f"{before}{MASK}{_closing(value)}"


def _closing(value: str) -> str:
    """Return the quotes and brackets at the end of a value that were opened before it."""
    inner = value.rstrip("'\"`)]}")
    return value[len(inner) :] if inner and value[0] not in "'\"[(" else ""


# For each rule: a text without which it cannot match, the pattern, and the replacement.
_RULES: tuple[tuple[str, Callable[[], re.Pattern[str]], str | Callable[[re.Match[str]], str]], ...] = (
    ("-----BEGIN ", _private_key, MASK),
    ("", _known_forms, MASK),
    ("@", _url_with_blanks, rf"\g<1>{MASK}\g<2>"),
    ("@", _url, _mask_url),
    ("@", _login, lambda match: f"{_masked_login(match[1], match[2])}@"),
    (":", _json_item, _mask_named),
    ("\\", _escaped_json_item, _mask_escaped),
    (":", _line, _mask_named),
    ("- ", _list_items, _mask_list_items),
    ("{", _flow_item, _mask_named),
    ("</", _element, _mask_escaped),
    ("login", _netrc, rf"\g<before>{MASK}"),
    ("-", _user_option, rf"\g<before>{MASK}"),
    ("-p", _program_option, rf"\g<before>{MASK}"),
    ("-", _option, _mask_named),
    ("-", _option_item, _mask_escaped),
    ("Auth(", _basic_auth, rf"\g<before>\g<quote>{MASK}\g<quote>"),
    ("", _variable, _mask_variable),
    ("env", _read_variable, _mask_named),
    ("", _told, rf"\g<before>{MASK}"),
    (":", _header, rf"\g<before>{MASK}"),
)
