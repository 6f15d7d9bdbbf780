"""The command line of this process, as an owner record shows it: without what looks secret.

People put keys and passwords into command lines, and an owner record goes where the command line
does not: into states, checkpoints, exports and logs. The value of an option or a variable whose
name speaks of a secret is replaced by ``***``, and so is a word that begins as well-known keys do.
The program and all other words stay readable. A secret that looks like nothing of that stays.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache

MASK = "***"
_LIMIT = 200

# Patterns as text: who only lists sessions need not wait until they are compiled.
_SPEAKS_OF_ONE = (
    r"(?ia)(?:^|[-_.])(?:"
    r"(?<!public.)(?<!foreign.)(?<!primary.)(?<!sort.)(?<!partition.)(?<!cache.)key"
    r"|(?:api|access|auth|secret|private)[-_.]?keys?"
    r"|\w*(?:token|secrets?|passwords?|passwd|passphrase|passcode|credentials?)"
    r"|pwd|pass|pw|pat|pin|otp|creds?|auth|authorization|authentication"
    r"|bearer|cookies?|jwt|dsn|signature|sas"
    r")(?:[-_.](?:value|id|string|text|json|b64|base64))?$"
    r"|(?:^|[-_.])(?:secrets?|credentials?)\."
)
"""Names that speak of a secret: api-key, GITHUB_TOKEN, db.password, authorization, …"""

_FLAG = r"(?i)-+(?:no|without|disable|skip|allow|use|enable)[-_]"
"""Options that take no value, such as --no-auth."""

_KEY = (
    r"(?a)\b(?:sk-[\w-]{6,}|[rsp]k_(?:live|test)_\w{6,}|gh[opusr]_\w{10,}|github_pat_\w{10,}"
    r"|glpat-[\w-]{10,}|xox[a-z]-[\w-]{6,}|xapp-[\w-]{6,}|A(?:KIA|SIA)[0-9A-Z]{12,}"
    r"|AIza[\w-]{20,}|ya29\.[\w-]{10,}|hf_\w{10,}|npm_\w{20,}|pypi-[\w-]{20,}"
    r"|dop_v1_\w{10,}|SG\.[\w-]{10,}\.[\w-]{10,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
)
"""Words that begin as the keys of well-known services do."""

_USER_INFO = r"(?i)(\b[a-z][a-z0-9+.-]*://)[^\s/?#]*@"
_SCHEME = r"(?:Bearer|Basic|Token|ApiKey|Digest)"
_AFTER_SCHEME = rf"(?i)\b({_SCHEME}\s+)(?!\*)[^\s'\",;]{{4,}}"
_NAME = r"(?P<quote>[\"']?)(?P<name>[A-Za-z_][\w.-]*)(?P=quote)\s*[=:](?!//)\s*"
_VALUE = rf"(?i)\"[^\"]*\"?|'[^']*'?|(?:{_SCHEME}\s+)?[^\s&;,\"'}}]+"
_USERS = frozenset(("-u", "--user", "--proxy-user"))
"""Options whose value is ``user:password``."""


@cache
def command_line() -> str:
    """Return the command line of this process, up to 200 characters, with its secrets masked."""
    words = [os.path.basename(sys.executable or "python"), *(sys.orig_argv[1:] or sys.argv)]
    return masked(words)[:_LIMIT].encode("utf-8", "backslashreplace").decode()


def masked(words: Iterable[str]) -> str:
    """Return a command line in which what looks like a secret is replaced by ``***``."""
    return " ".join(_masked(words))


def _masked(words: Iterable[str]) -> Iterator[str]:
    option = ""
    for word in words:
        before, option = option, ""
        name, sign, value = word.partition("=")
        if before and not word.startswith("--") and not (word[:1] == "-" and len(word) == 2):
            user, colon, _ = word.partition(":")
            yield f"{user}:{MASK}" if before in _USERS and colon else MASK
        elif sign and _is_secret(name):
            yield f"{name}={MASK}"
        elif sign and name in _USERS and ":" in value:
            yield f"{name}={value.partition(':')[0]}:{MASK}"
        else:
            if word.startswith("-") and not sign and _takes_secret(word):
                option = word
            yield _masked_inside(word)


def _takes_secret(option: str) -> bool:
    return option in _USERS or (_is_secret(option) and not re.match(_FLAG, option))


def _is_secret(name: str) -> bool:
    """Return whether the name of an option or a variable speaks of a secret."""
    # apiKey and dbPassword are api-Key and db-Password.
    bare = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name.lstrip("-"))
    return re.search(_SPEAKS_OF_ONE, bare) is not None


def _masked_inside(word: str) -> str:
    """Mask within a word: a URL, a header, a piece of JSON or of a query, a known key."""
    word = re.sub(_USER_INFO, rf"\g<1>{MASK}@", word)
    word = "".join(_without_values(word))
    word = re.sub(_AFTER_SCHEME, rf"\g<1>{MASK}", word)
    return re.sub(_KEY, MASK, word)


def _without_values(word: str) -> Iterator[str]:
    """Yield a word in pieces, with ``***`` in the place of a value whose name is secret."""
    name, value_of = re.compile(_NAME), re.compile(_VALUE)
    position = 0
    while found := name.search(word, position):
        end = found.end()
        yield word[position:end]
        if _is_secret(found["name"]):
            if found[0].endswith(": ") and not found["quote"]:
                yield MASK  # a header: all that follows is its value
                return
            if value := value_of.match(word, end):
                yield MASK
                end = value.end()
        position = end
    yield word[position:]
