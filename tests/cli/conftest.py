import numpy as np
import pytest


@pytest.fixture
def csv_file(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 3)) * [1, 100, 0.01] + 5
    rows = [f"{a},{b},{c},{'yes' if a > 5 else 'no'},{2 * a + 0.01 * b + 0.5:.5f}" for a, b, c in X]
    path = tmp_path / "table.csv"
    path.write_text("a,b,c,class,value\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture
def classes_file(csv_file):
    """The same without its last column."""
    path = csv_file.with_name("classes.csv")
    lines = csv_file.read_text().splitlines()
    path.write_text("\n".join(line.rpartition(",")[0] for line in lines))
    return path
