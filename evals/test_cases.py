"""One test per case, and the proof that the cases together are a suite.

With ``--target`` a test reports how the target answered its case: "." is right, "w" is wrong and no failure, since
the metrics judge. Without one it proves that the case can be answered rightly, and only so.
"""

from harness.cases import load_cases, prove_suite
from harness.plugin import STATE
from harness.toolset import load_toolset


def test_case(case, evaluation, record_property):
    """The case was measured, or, without a target, proves itself."""
    evaluation.check_case(case, record_property)


def test_the_cases_form_a_suite(pytestconfig):
    """No id and no question twice, and every pair tells two answers apart."""
    problems = prove_suite(load_cases(pytestconfig.stash[STATE].cases_path), load_toolset())

    assert not problems, "\n".join(problems)
