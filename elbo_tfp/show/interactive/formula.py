"""One formula, two languages: arithmetic that Python evaluates and a browser runs."""

from __future__ import annotations

import ast
import math

FUNCTIONS = {
    "abs": abs,
    "exp": math.exp,
    "log": math.log,
    "max": max,
    "min": min,
    "sqrt": math.sqrt,
}
"""What a formula may call; JavaScript's `Math` has the same names."""

_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


def evaluate(formula: str, values: dict) -> float:
    """The value of an arithmetic formula.

    Args:
        formula: such as `"log(scale) - mean**2 / 2"`.
        values: the number behind each name; `pi` is known.

    Raises:
        ValueError: if the formula is more than arithmetic, or a name is unknown.
    """
    javascript(formula)  # raises if it is anything but arithmetic
    names = {"__builtins__": {}, "pi": math.pi, **FUNCTIONS, **values}
    try:
        return float(eval(formula, names))
    except NameError as error:
        raise ValueError(
            f"expected names among {sorted(values)} in {formula!r}; got {error.name!r}."
        ) from error


def javascript(formula: str) -> str:
    """The same formula as a JavaScript expression in the fields of an object `v`.

    Raises:
        ValueError: if the formula is more than arithmetic.
    """
    try:
        return _translate(ast.parse(formula, mode="eval").body)
    except (SyntaxError, ValueError) as error:
        raise ValueError(
            f"expected a formula of numbers, names, + - * / ** and {list(FUNCTIONS)}; "
            f"got {formula!r} ({error})."
        ) from error


def _translate(node) -> str:
    match node:
        case ast.Constant(value=int() | float() as number):
            return repr(float(number))
        case ast.Name(id="pi"):
            return "Math.PI"
        case ast.Name(id=name):
            return f"v.{name}"
        case ast.UnaryOp(op=ast.USub(), operand=value):
            return f"(-{_translate(value)})"
        case ast.BinOp(op=ast.Pow(), left=base, right=power):
            # -x ** 2 is no JavaScript; a call means the same in both languages
            return f"Math.pow({_translate(base)},{_translate(power)})"
        case ast.BinOp(op=op, left=a, right=b) if type(op) in _OPERATORS:
            return f"({_translate(a)}{_OPERATORS[type(op)]}{_translate(b)})"
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if (
            name in FUNCTIONS
        ):
            return f"Math.{name}({','.join(_translate(a) for a in args)})"
    raise ValueError(f"no arithmetic: {ast.unparse(node)}")
