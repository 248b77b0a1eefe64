import pytest

pytest.register_assert_rewrite("tests.ioc.faults.books")
