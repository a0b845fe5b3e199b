"""Says what single draws can be asked for."""

from tfpbnn.likelihoods import Likelihood


def check_draws_stay(likelihood: Likelihood, name: str) -> None:
    """Raises if the mixture over draws is mapped, and not each draw."""
    if likelihood.of_mixture is not None:
        raise ValueError(
            f"`{name}` must be asked of draws that are calibrated one by one. "
            f"Received: predictions that {likelihood.of_mixture} has "
            "calibrated, which maps their mixture and no single draw. Ask it "
            "of a prediction with likelihood.recalibrated(None), or of one "
            "calibrated by Temperature or another map of logits"
        )
