# SPDX-License-Identifier: Apache-2.0
import pytest

# Its assertions are to show values, as those of test files do.
pytest.register_assert_rewrite(f"{__name__}.base", f"{__name__}.vit")
