"""One test per metric of the profile: it fails where the metric keeps the gate closed, and says why."""


def test_metric(metric, evaluation):
    """The metric stands where the profile requires it."""
    evaluation.check_metric(metric)
