"""Equations of the pages as MathML, which browsers show without a script."""

import html
import re

from math_core import LatexToMathML

CONVERTER = LatexToMathML()
# What pymdownx.arithmatex makes of an equation: `\(...\)` or `\[...\]`.
EQUATION = re.compile(
    r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL
)


def mathml(match: re.Match) -> str:
    """The MathML of one equation; an unknown command ends the build."""
    tag, latex = match.groups()
    return CONVERTER.convert_with_local_state(
        html.unescape(latex), displaystyle=tag == "div"
    )


def on_page_content(content: str, **_: object) -> str:
    """MkDocs's hook: the page's HTML, docstrings and all."""
    return EQUATION.sub(mathml, content)
