"""
Expressions: a closed, compiled subset of Python's, over values that look like JSON.

`compile_expression` checks the text and compiles it once; `Expression.evaluate` runs it on the
values of its *roots* (the names it may begin with: `payload`, `data`, ... in machines; `body`,
`key`, ... for the wire room). An attribute is a key: `payload.order.id` is
`payload["order"]["id"]`. There are no calls, no dunders, nothing that grows without limit; an
expression either has a value or raises ExpressionError with its text, where it stands, and what
was wrong. Nothing else can come out.

The code that runs is plain subscripting and therefore fast. When it fails, the expression is
compiled and run once more with each access checked, only to say what failed.
"""

from __future__ import annotations

import ast
import keyword
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from event_center.errors import ExpressionError
from event_center.machine.arithmetic import CHECKED, FAILURES, OPERATORS, in_range
from event_center.machine.spelling import hint, quoted

MAX_CHARACTERS = 1_000
"""What is longer is no expression but a program, and belongs into a callback."""
MAX_DEPTH = 50
"""Levels of nesting: far below the depth at which Python's own compiler gives up."""

NOTHING: Mapping[str, Any] = {}
_VALUES = "_values"
_KEYWORD_KEY = re.compile(r"\.\s*(" + "|".join(keyword.kwlist) + r")\b")
_PYTHON_NAMES = {"null": "None", "true": "True", "false": "False"}
_FORBIDDEN = {
    ast.Call: "a call",
    ast.Lambda: "a lambda",
    ast.JoinedStr: "an f-string",
    ast.NamedExpr: "an assignment",
    ast.Dict: "a mapping",
    ast.Set: "a set",
    ast.Starred: "a star",
    ast.Slice: "a slice",
    ast.Await: "await",
    ast.Yield: "yield",
    ast.YieldFrom: "yield",
}


class Expression:
    """One compiled expression; never changed."""

    __slots__ = ("_explain", "_roots", "_run", "attributes", "roots", "text", "where")

    def __init__(
        self, text: str, run: Callable[[Mapping[str, Any]], Any], where: str, names: _Names
    ) -> None:
        self.text = text
        """The source, without the leading `=`."""
        self.where = where
        """`file:line:column`, or whatever its owner calls its place."""
        self.roots = frozenset(names.used)
        """The roots that it reads."""
        self.attributes = frozenset(names.attributes)
        """Pairs of a root and a key that it reads of the root by name."""
        self._roots = names.allowed
        self._run = run
        self._explain: Callable[[Mapping[str, Any]], Any] | None = None

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """
        The value of the expression, given those of its roots.

        What it returns may be a part of `values`, not a copy.

        Raises:
            ExpressionError: a key is missing, types do not fit, a number grew too large, ...
        """
        try:
            return self._run(values)
        except FAILURES as error:
            raise self._failure(values, error) from None

    def _failure(self, values: Mapping[str, Any], error: Exception) -> ExpressionError:
        """The error to be raised: the same evaluation again, slowly, to learn what failed."""
        reason: Exception = error
        # Kept: what fails once fails with many events. Python has nothing to warn of: it was checked.
        if self._explain is None:
            self._explain = _compiled(self.text, _Names(self._roots), explain=True)
        try:
            self._explain(values)
        except FAILURES as explained:
            reason = explained
        if isinstance(reason, RecursionError):
            return _error(self.where, self.text, "a value is nested too deeply")
        return _error(self.where, self.text, str(reason))

    def tree(self, reading: Mapping[str, str]) -> ast.expr:
        """What it says, as a part of what `compiled` makes a function of; `reading` finds the roots."""
        body = ast.parse(self.text, mode="eval").body
        names = _Names(self._roots)
        return _Translation(names, explain=False, reading=reading).translated(body, 0)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


def is_expression(value: object) -> bool:
    """Whether a value of a machine is an expression: a text that begins with exactly one `=`."""
    return isinstance(value, str) and value.startswith("=") and not value.startswith("==")


def unescaped(text: str) -> str:
    """The literal text meant by a value that is no expression: `==x` stands for `=x`."""
    return text[1:] if text.startswith("==") else text


def compile_expression(text: str, roots: frozenset[str], where: str) -> Expression:
    """
    Check and compile an expression, written with or without its leading `=`.

    Args:
        text: the source, at most 1,000 characters.
        roots: the names that it may begin with.
        where: `file:line:column` or the like, for messages.

    Raises:
        ExpressionError: the text is not in the language; the message says what is not.
    """
    source = text.removeprefix("=").strip()
    names = _Names(roots)
    with warnings.catch_warnings():
        # What Python merely warns of (unknown escapes, subscripts of numbers) is a mistake here. Nothing
        # else is: a collection of garbage meanwhile may warn of what others left open.
        warnings.simplefilter("error", SyntaxWarning)
        warnings.simplefilter("error", DeprecationWarning)
        try:
            run = _compiled(source, names, explain=False)
        except ExpressionError as error:
            raise _error(where, source, str(error)) from None
    return Expression(source, run, where, names)


def _error(where: str, source: str, message: str) -> ExpressionError:
    error = ExpressionError(f"{where}: {quoted('=' + source)}: {message}")
    error.where = where
    return error


def _compiled(source: str, names: _Names, *, explain: bool) -> Callable[[Mapping[str, Any]], Any]:
    """Translate the checked source into a function of the values."""
    if len(source) > MAX_CHARACTERS:
        raise ExpressionError(f"longer than {MAX_CHARACTERS:,} characters")
    try:
        body = ast.parse(source, mode="eval").body
        tree = _Translation(names, explain=explain).translated(body, 0)
        return compiled(tree, (_VALUES,))
    except SyntaxError as error:
        raise ExpressionError(_syntax(source, error)) from None
    except (MemoryError, RecursionError):
        raise ExpressionError("nested too deeply") from None
    except ValueError as error:
        raise ExpressionError(str(error)) from None


def compiled(
    tree: ast.expr, arguments: Iterable[str], known: Mapping[str, Any] = NOTHING
) -> Callable[..., Any]:
    """
    A function of these arguments that returns what the tree comes to.

    The tree holds nothing but what _Translation wrote, and no names but those of the arguments, of the
    operators, and of what is `known`.
    """
    named = ast.arguments(
        posonlyargs=[],
        args=[ast.arg(arg=name) for name in arguments],
        kwonlyargs=[],
        kw_defaults=[],
        defaults=[],
    )
    function = ast.Expression(body=ast.Lambda(args=named, body=tree))
    code = compile(ast.fix_missing_locations(function), "<expression>", "eval")
    made: Callable[..., Any] = eval(code, {"__builtins__": {}, **CHECKED, **known})  # noqa: S307 - our own tree
    return made


def _syntax(source: str, error: SyntaxError) -> str:
    match = _KEYWORD_KEY.search(source)
    if match is not None:
        return (
            f'the key {match[1]!r} is a word of Python; write ["{match[1]}"] instead of .{match[1]}'
        )
    return f"not an expression: {error.msg}" if source else "there is no expression after the '='"


class _Names:
    """The roots an expression may use, those it uses, and the keys it reads of them by name."""

    __slots__ = ("allowed", "attributes", "used")

    def __init__(self, allowed: frozenset[str]) -> None:
        self.allowed = allowed
        self.used: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()


class _Translation:
    """
    Writes a new tree from the parsed one, form by form; a form that is not listed here is refused.

    Nothing of the parsed tree is kept, so that what was not looked at cannot run.
    """

    def __init__(
        self, names: _Names, *, explain: bool, reading: Mapping[str, str] = NOTHING
    ) -> None:
        self._names = names
        self._explain = explain
        self._reading = reading
        self._forms: dict[type[ast.expr], Callable[[Any, int], ast.expr]] = {
            ast.Constant: self._constant,
            ast.Name: self._name,
            ast.Attribute: self._attribute,
            ast.Subscript: self._subscript,
            ast.List: self._list,
            ast.Tuple: self._list,
            ast.Compare: self._compare,
            ast.BinOp: self._operation,
            ast.UnaryOp: self._unary,
            ast.BoolOp: self._boolean,
            ast.IfExp: self._conditional,
        }

    def translated(self, node: ast.expr, depth: int) -> ast.expr:
        """The node as it will run, or ExpressionError."""
        if depth > MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH} levels")
        form = self._forms.get(type(node))
        if form is None:
            what = _FORBIDDEN.get(type(node), type(node).__name__)
            raise ExpressionError(f"{what} is not part of the language of expressions")
        return form(node, depth + 1)

    def _constant(self, node: ast.Constant, _depth: int) -> ast.expr:
        value = node.value
        if value is not None and type(value) not in {str, int, float, bool}:
            raise ExpressionError(f"{type(value).__name__} values are not part of the language")
        if isinstance(value, str):
            if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
                raise ExpressionError("a text has half of a character (a surrogate)")
        elif isinstance(value, int | float):
            in_range(value)
        return ast.Constant(value)

    def _name(self, node: ast.Name, _depth: int) -> ast.expr:
        name = node.id
        if name not in self._names.allowed:
            if name in _PYTHON_NAMES:
                raise ExpressionError(f"write {_PYTHON_NAMES[name]} instead of {name}")
            known = sorted(self._names.allowed)
            raise ExpressionError(f"unknown name {quoted(name)}{hint(name, known, 'names')}")
        self._names.used.add(name)
        if name in self._reading:
            return ast.parse(self._reading[name], mode="eval").body
        return _at(ast.Name(_VALUES, ast.Load()), ast.Constant(name))

    def _attribute(self, node: ast.Attribute, depth: int) -> ast.expr:
        if node.attr.startswith("__"):
            raise ExpressionError(f"the key {quoted(node.attr)} begins with two underscores")
        if isinstance(node.value, ast.Name):
            self._names.attributes.add((node.value.id, node.attr))
        return self._access(node.value, ast.Constant(node.attr), depth)

    def _subscript(self, node: ast.Subscript, depth: int) -> ast.expr:
        return self._access(node.value, self.translated(node.slice, depth), depth)

    def _access(self, owner: ast.expr, key: ast.expr, depth: int) -> ast.expr:
        value = self.translated(owner, depth)
        if not self._explain:
            return _at(value, key)
        return _operator("_item", value, key, ast.Constant(ast.unparse(owner)))

    def _list(self, node: ast.List | ast.Tuple, depth: int) -> ast.expr:
        # A tuple becomes a list, because that is what it will be when it was once written as JSON.
        return ast.List([self.translated(item, depth) for item in node.elts], ast.Load())

    def _compare(self, node: ast.Compare, depth: int) -> ast.expr:
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(operator, ast.Is | ast.IsNot) and not _is_single(right):
                raise ExpressionError("'is' compares with None, True or False only; use == instead")
        rights = [self.translated(right, depth) for right in node.comparators]
        return ast.Compare(self.translated(node.left, depth), node.ops, rights)

    def _operation(self, node: ast.BinOp, depth: int) -> ast.expr:
        name = OPERATORS.get(type(node.op))
        if name is None:
            what = type(node.op).__name__
            raise ExpressionError(
                f"the operator {what} is not part of the language; use + - * / // %"
            )
        left = self.translated(node.left, depth)
        return _operator(name, left, self.translated(node.right, depth))

    def _unary(self, node: ast.UnaryOp, depth: int) -> ast.expr:
        operand = self.translated(node.operand, depth)
        if isinstance(node.op, ast.Not):
            return ast.UnaryOp(ast.Not(), operand)
        if isinstance(node.op, ast.USub):
            if isinstance(operand, ast.Constant) and isinstance(operand.value, int | float):
                in_range(-operand.value)
                return ast.Constant(-operand.value)
            return _operator("_negative", operand)
        raise ExpressionError("of the signs only '-' is part of the language")

    def _boolean(self, node: ast.BoolOp, depth: int) -> ast.expr:
        return ast.BoolOp(node.op, [self.translated(value, depth) for value in node.values])

    def _conditional(self, node: ast.IfExp, depth: int) -> ast.expr:
        test, yes, no = (
            self.translated(part, depth) for part in (node.test, node.body, node.orelse)
        )
        return ast.IfExp(test, yes, no)


def _is_single(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool))


def _at(value: ast.expr, key: ast.expr) -> ast.expr:
    return ast.Subscript(value, key, ast.Load())


def _operator(name: str, *operands: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(name, ast.Load()), list(operands), [])
