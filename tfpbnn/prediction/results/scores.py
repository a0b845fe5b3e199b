"""Defines scores by name, which say what they are means over."""

from collections.abc import Mapping


class Scores(dict[str, float]):
    """A dict of scores by name.

    Attributes:
        per: what each score is a mean over, by the same names: "row"; "step" or
            "position" if rows have one more axis, or several; "target" or
            "label" where the targets of a place are scored separately.
    """

    def __init__(self, scores: Mapping[str, float], per: Mapping[str, str]):
        """Takes the scores, and what each is a mean over, by name."""
        super().__init__(scores)
        self.per = dict(per)


def joined(scores: Mapping[str, Scores], is_named: bool) -> Scores:
    """Joins the scores of several outputs in one dict.

    Args:
        scores: the scores, by the names of the outputs.
        is_named: whether names begin with that of the output.
    """

    def names(output: str, score: str) -> str:
        return f"{output}_{score}" if is_named else score

    return Scores(
        {
            names(output, name): value
            for output, of_one in scores.items()
            for name, value in of_one.items()
        },
        {
            names(output, name): per
            for output, of_one in scores.items()
            for name, per in of_one.per.items()
        },
    )
