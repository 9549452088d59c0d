"""On the path of Python (`tests.steps.FEW_STEPS`), any process that a test starts takes few steps, as the tests do."""

from tests.steps import take_few_steps

take_few_steps()
