"""A certificate costs no more CPU than it is allowed to."""

from __future__ import annotations

from benchmarks.budget import POSTGRES_BUDGET, SERVER_BUDGET, SLACK, Cost, measure_cost


def test_certificate_is_within_its_cpu_budget() -> None:
    cost = measure_cost()

    assert cost.is_within_budget, str(cost)


def test_budget_can_be_exceeded_by_either_part() -> None:
    within = Cost(SERVER_BUDGET * SLACK, POSTGRES_BUDGET * SLACK, 0.2)

    assert within.is_within_budget
    assert not Cost(SERVER_BUDGET * SLACK + 0.1, POSTGRES_BUDGET, 0.2).is_within_budget
    assert not Cost(SERVER_BUDGET, POSTGRES_BUDGET * SLACK + 0.1, 0.2).is_within_budget
