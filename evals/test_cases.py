"""One test per case, and the proof that the cases together are a suite.

With ``--target`` a test reports how the target answered its case: "." is right, "w" is wrong and no failure, since
the metrics judge. Without one it proves that the case can be answered rightly, and only so.
"""

from harness.plugin import Evaluation, Record
from harness.types import Case


def test_case(case: Case, evaluation: Evaluation, record_property: Record) -> None:
    """The case was measured, or, without a target, proves itself."""
    evaluation.check_case(case, record_property)


def test_the_cases_form_a_suite(evaluation: Evaluation) -> None:
    """No id and no question twice, and every pair tells two answers apart."""
    evaluation.check_suite()
