# SPDX-License-Identifier: Apache-2.0
"""Just enough shell grammar to find the simple commands of a text, with their offsets.

Quotes, escapes, substitutions, comments and here-documents are skipped as a whole, so what stands inside them is never taken
for a command. A text that cannot be followed to its end has no simple commands here: it is then run as written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_BLANK = " \t"
_WORD_ENDS = " \t\n;&|()<>"
_OPERATORS = (";;&", ";;", ";&", "&&", "||", "|&", ";", "&", "|", "(", ")")
_REDIRECTION = re.compile(r"&>>|&>|<<<|<<-|<<|<>|<&|>>|>&|>\||<|>")
_LEADERS = {"if", "then", "elif", "else", "while", "until", "do", "!", "{"}  # a command follows these
_PREFIXES = {"exec", "nohup", "time", "command", "env"}  # these run the words after them
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")
_UNQUOTE = str.maketrans("", "", "'\"\\")


@dataclass(frozen=True)
class Word:
    """A word as written; `plain` when it holds no quotes, escapes or commands whose output it takes."""

    text: str
    start: int
    end: int
    plain: bool


@dataclass(frozen=True)
class Simple:
    """A simple command: its words without redirections, its extent with them, and what stands before and after it.

    `opener` and `closer` are operators or reserved words, "" at the ends of the text; `after` is the offset behind the closer.
    """

    words: tuple[Word, ...]
    start: int
    end: int
    opener: str
    closer: str
    after: int

    def arguments_of(self, program: str, verb: str) -> tuple[Word, ...] | None:
        """The words from `verb` on when this calls `program verb`, by any path and behind assignments; else None."""
        words = list(self.words)
        while words and (_ASSIGNMENT.match(words[0].text) or words[0].text in _PREFIXES):
            words.pop(0)
        if len(words) < 2 or not (words[0].plain and words[1].plain):
            return None
        is_it = words[0].text.rsplit("/", 1)[-1] == program and words[1].text == verb
        return tuple(words[1:]) if is_it else None


def simple_commands(text: str) -> tuple[Simple, ...]:
    """The simple commands of a shell text in order; none when a quote or bracket is never closed, or nested too deep."""
    try:
        return _Lexer(text).run()
    except (_Unclosed, RecursionError):
        return ()


class _Unclosed(Exception):
    """The text ends inside a quote or bracket."""


class _Lexer:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: list[Simple] = []
        self.words: list[Word] = []
        self.start: int | None = None
        self.end = 0
        self.opener = ""
        self.documents: list[tuple[str, bool]] = []  # here-documents whose text comes after this line

    def run(self) -> tuple[Simple, ...]:
        while self.at < len(self.text):
            self._step()
        self._finish("", self.at)
        return tuple(self.found)

    def _step(self) -> None:
        text, at = self.text, self.at
        char = text[at]
        if char in _BLANK:
            self.at += 1
        elif text.startswith("\\\n", at):
            self.at += 2
        elif char == "#":
            end = text.find("\n", at)
            self.at = len(text) if end < 0 else end
        elif char == "\n":
            self._finish("\n", at + 1)
            self._skip_documents()
        elif text.startswith(("<(", ">("), at):
            self._add_word()
        elif redirection := _REDIRECTION.match(text, at):
            self._redirection(redirection[0])
        elif operator := next((op for op in _OPERATORS if text.startswith(op, at)), None):
            self._finish(operator, at + len(operator))
        else:
            self._add_word()

    def _finish(self, closer: str, after: int) -> None:
        if self.start is not None and self.words:
            self.found.append(Simple(tuple(self.words), self.start, self.end, self.opener, closer, after))
        self.words, self.start, self.opener, self.at = [], None, closer, after

    def _extend(self, start: int) -> None:
        self.start = start if self.start is None else self.start
        self.end = self.at

    def _add_word(self) -> None:
        word = self._word()
        if word.text.isdigit() and self.text[self.at : self.at + 1] in ("<", ">"):
            self._extend(word.start)  # the number of a redirected file
        elif not self.words and self.start is None and word.text in _LEADERS:
            self.opener = word.text
        else:
            self._extend(word.start)
            self.words.append(word)

    def _redirection(self, operator: str) -> None:
        start = self.at
        self.at += len(operator)
        while self.text[self.at : self.at + 1] in (" ", "\t") and self.at < len(self.text):
            self.at += 1
        target = self._word()
        self._extend(start)
        if operator in ("<<", "<<-"):
            self.documents.append((target.text.translate(_UNQUOTE), operator == "<<-"))

    def _skip_documents(self) -> None:
        for delimiter, tabs in self.documents:
            while self.at < len(self.text):
                end = self.text.find("\n", self.at)
                end = len(self.text) if end < 0 else end
                line = self.text[self.at : end]
                self.at = min(end + 1, len(self.text))
                if (line.lstrip("\t") if tabs else line) == delimiter:
                    break
        self.documents.clear()

    def _word(self) -> Word:
        start, plain = self.at, True
        while self.at < len(self.text):
            char = self.text[self.at]
            is_open = char == "(" if self.at > start else self.text.startswith(("<(", ">("), self.at)
            if (char in _WORD_ENDS and not is_open) or self._line_goes_on():
                break
            if is_open or self._special():
                plain = plain and self.text.startswith("${", self.at)
                self._skip_special()
            else:
                self.at += 1
        return Word(self.text[start : self.at], start, self.at, plain)

    def _line_goes_on(self) -> bool:
        return self.text.startswith(("\\\n ", "\\\n\t"), self.at)

    def _special(self) -> bool:
        return self.text[self.at] in "'\"\\`" or self.text.startswith(("$(", "$'", '$"', "${"), self.at)

    def _special_in_quotes(self) -> bool:
        return self.text[self.at] in "\\`" or self.text.startswith(("$(", "${"), self.at)

    def _skip_special(self) -> None:
        """Step over a quoted or bracketed part as a whole."""
        char, pair = self.text[self.at], self.text[self.at : self.at + 2]
        if char == "\\":
            self.at = min(self.at + 2, len(self.text))
        elif char == "'":
            self._skip_to("'", escapes=False)
        elif pair == "$'":
            self.at += 1
            self._skip_to("'", escapes=True)
        elif char == "`":
            self._skip_to("`", escapes=True)
        elif char == '"' or pair == '$"':
            self.at += len(pair) - 1 if char == "$" else 0
            self._skip_nested('"')
        elif pair == "${":
            self.at += 1
            self._skip_nested("}")
        else:
            self.at = self.text.index("(", self.at)
            self._skip_nested(")")

    def _skip_to(self, closer: str, *, escapes: bool) -> None:
        self.at += 1
        while self.at < len(self.text) and self.text[self.at] != closer:
            self.at += 2 if escapes and self.text[self.at] == "\\" else 1
        self._close()

    def _skip_nested(self, closer: str) -> None:
        self.at += 1
        while self.at < len(self.text) and self.text[self.at] != closer:
            special = self._special_in_quotes() if closer == '"' else self._special()
            if special or (closer == ")" and self.text[self.at] == "("):
                self._skip_special()
            else:
                self.at += 1
        self._close()

    def _close(self) -> None:
        if self.at >= len(self.text):
            raise _Unclosed
        self.at += 1
