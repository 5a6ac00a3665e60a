from collections.abc import Mapping

import pytest

from run_assets.reports.content import ReportContent
from run_assets.reports.figure import Figure
from run_assets.reports.figures import figures
from tests.support import report_content


@pytest.fixture(scope="session")
def night() -> ReportContent:
    return report_content.night()


@pytest.fixture(scope="session")
def drawn(night: ReportContent) -> Mapping[str, Figure]:
    return figures(night)


@pytest.fixture(scope="session")
def hostile() -> ReportContent:
    return report_content.hostile()


@pytest.fixture(scope="session")
def hostile_drawn(hostile: ReportContent) -> Mapping[str, Figure]:
    return figures(hostile)
