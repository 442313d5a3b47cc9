"""The use cases with real checks of CAA, and with the clock set ahead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from acme_server.workflow.caa import CaaUseCases
from policy.model.authorizations import ValidationTask
from storage.caachecks import CaaChecks
from storage.pool import Database
from support.validation import PATIENT, Lab
from support.workflow import House, build_house
from validators.registry import Validators
from validators.trace import Trace


class Later:
    """A clock that is ahead."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        """The time, later."""
        return datetime.now(UTC) + self._ahead


class Proven:
    """Every challenge is proven; CAA is checked for real."""

    async def prove(self, task: ValidationTask, trace: Trace) -> None:
        """Proves."""


class CaaValidators(Validators):
    """Real validators, of which only the check of CAA goes out."""

    def __init__(self, lab: Lab) -> None:
        proven = dict.fromkeys(("http-01", "dns-01", "tls-alpn-01"), Proven())
        caa = lab.validators()._caa
        super().__init__(proven, deadline=PATIENT, caa=caa)


async def checking_house(database: Database, lab: Lab) -> House:
    """A house whose validations check CAA as the lab says."""
    house = await build_house(database)
    house.worker._validators = CaaValidators(lab)
    return house


def caa_use_cases(
    house: House,
    lab: Lab,
    *,
    hours: float = 0,
    is_enforced: bool = True,
    patience: timedelta = PATIENT,
) -> CaaUseCases:
    return CaaUseCases(
        lab.caa_checker(),
        CaaChecks(house.database),
        Later(timedelta(hours=hours)),
        is_enforced=is_enforced,
        patience=patience,
    )
