"""Scores by name, which say what they are means over."""

from collections.abc import Mapping


class Scores(dict[str, float]):
    """A dict of scores by name.

    Attributes:
        per: by the same names, what each is a mean over: "row", or "step" or
            "position" if a row's outputs have one axis of them, or several;
            "target" or "label" where the targets of a place are scored apart.
    """

    def __init__(self, scores: Mapping[str, float], per: Mapping[str, str]):
        """Takes the scores, and by their names what they are means over."""
        super().__init__(scores)
        self.per = dict(per)


def joined(scores: Mapping[str, Scores], is_named: bool) -> Scores:
    """The scores of several outputs in one dict.

    Args:
        scores: by the outputs.
        is_named: whether names begin with the output's.
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
