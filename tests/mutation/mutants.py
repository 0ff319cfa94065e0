"""The mutants of a module: its source with one operator, number, condition or constant changed, made by cosmic-ray."""

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass

from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

# Of cosmic-ray's operators those whose mutants are like faults that people make; of many alike one.
_PAIRS = {
    "ReplaceBinaryOperator": ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Mod_FloorDiv", "Pow_Mul"),
    "ReplaceComparisonOperator": ("Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Is_IsNot", "IsNot_Is"),
    "ReplaceUnaryOperator": ("USub_UAdd", "Delete_Not"),
}
OPERATORS = (
    *(f"core/{kind}_{pair}" for kind, pairs in _PAIRS.items() for pair in pairs),
    *("core/ReplaceBinaryOperator_BitAnd_BitOr", "core/ReplaceBinaryOperator_BitOr_BitAnd"),
    *("core/AddNot", "core/ReplaceTrueWithFalse", "core/ReplaceFalseWithTrue", "core/ReplaceAndWithOr"),
    *("core/ReplaceOrWithAnd", "core/ReplaceBreakWithContinue", "core/ReplaceContinueWithBreak", "core/NumberReplacer"),
    *("core/RemoveDecorator", "core/ZeroIterationForLoop"),
)


@dataclass(frozen=True)
class Mutant:
    """A module's source with one fault, and the lines that differ."""

    source: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.before}  ->  {self.after}"


def mutants(source: str, limit: int | None = None, seed: int = 0) -> list[Mutant]:
    """All mutants of a source, or `limit` of them drawn by a seed; none that changes annotations or nothing alone."""
    assert set(OPERATORS) <= set(operator_names()), "cosmic-ray has other operators now"
    every = list(_every(source))
    if limit is not None and len(every) > limit:
        chosen = sorted(random.Random(seed).sample(range(len(every)), limit))
        every = [every[k] for k in chosen]
    return every


def _every(source: str) -> Iterator[Mutant]:
    seen = {_running(source)}
    for name in OPERATORS:
        for occurrence in range(10_000):
            changed = mutate_code(source, get_operator(name)(), occurrence)
            if changed is None or changed == source:
                break
            if (meaning := _running(changed)) is None or meaning in seen:
                continue
            seen.add(meaning)
            pairs = [pair for pair in zip(source.splitlines(), changed.splitlines(), strict=False) if pair[0] != pair[1]]
            before, after = (text.strip() for text in pairs[0]) if pairs else ("", "")
            yield Mutant(changed, before, after)


def _running(source: str) -> str | None:
    """What of a source runs: without annotations and docstrings; None where it does not compile."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
    return ast.dump(tree)
