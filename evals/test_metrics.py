"""One test per metric of the profile: it fails where the metric keeps the gate closed, and says why."""

from harness.plugin import Evaluation


def test_metric(metric: str, evaluation: Evaluation) -> None:
    """The metric stands where the profile requires it."""
    evaluation.check_metric(metric)
