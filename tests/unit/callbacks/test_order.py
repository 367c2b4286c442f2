# SPDX-License-Identifier: Apache-2.0
"""The order of a model's callbacks."""

import pytest

from rd_plugin import ReverseDistillation
from rd_plugin.callbacks import DataCheck, ordered_callbacks
from rd_plugin.models import METHODS
from rd_plugin.models.distillation import Distillation

# Each must come before the next in its row.
ORDERS = (
    ("ResultsFolder", "DataCheck", "ProvenanceWriter", "ReferenceWriter"),
    ("AtomicCheckpoints", "ProvenanceWriter"),
    ("DistillationPostProcessor", "ReportWriter", "RunSummary", "MlflowWriter"),
    ("RunningStatistics", "NormalStatistics"),
    ("RunningStatistics", "FusedStatistics"),
)


@pytest.mark.parametrize("method", METHODS)
def test_order(method: type[Distillation]) -> None:
    names = [type(callback).__name__ for callback in method("test_resnet", pre_trained=False).configure_callbacks()]
    for order in ORDERS:
        assert [name for name in names if name in order] == [name for name in order if name in names]


def test_what_is_left_out() -> None:
    arguments = {"data_check": DataCheck()}
    most = ordered_callbacks(report=True, validations=1, statistics=True, aligned=True, **arguments)
    least = ordered_callbacks(report=False, validations=None, statistics=False, aligned=False, **arguments)
    missing = {type(callback).__name__ for callback in most} - {type(callback).__name__ for callback in least}
    assert missing == {"ReportWriter", "ValidationSchedule", "NormalStatistics", "RegistrationFitting"}


def test_report_of_a_test_lists_what_was_found_before_the_training() -> None:
    model = ReverseDistillation("test_resnet", pre_trained=False)
    check, again = (
        next(callback for callback in model.configure_callbacks() if isinstance(callback, DataCheck)) for _ in range(2)
    )
    assert check is again
