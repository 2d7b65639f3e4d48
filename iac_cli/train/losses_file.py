"""Losses by step: a CSV in the run's folder, and TensorBoard's files where they are asked for."""

import csv
from pathlib import Path
from typing import Any

from iac_cli.errors import IacError, Word


class LossesFile:
    """`progress.csv`: step, seconds, and what the run measures. Only the first process writes."""

    def __init__(self, run: Path, writes: bool, *, board: bool = False) -> None:
        self._path, self._writes = run / "progress.csv", writes
        self._columns: list[str] = []
        self._board: Any = _board(run / "tensorboard") if board and writes else None

    def add(self, step: int, elapsed_s: float, values: dict[str, float]) -> None:
        """Append a row; a value that an earlier row did not have gets a column."""
        if not self._writes:
            return
        row = {"step": step, "elapsed_s": round(elapsed_s, 1)} | values
        if set(row) <= set(self._columns):
            with self._path.open("a", newline="", encoding="utf-8") as stream:
                csv.DictWriter(stream, self._columns).writerow(row)
        else:
            rows = self._rows()
            before = list(rows[0]) if rows else []
            self._columns = before + [name for name in row if name not in before]
            self._write([*rows, {name: str(value) for name, value in row.items()}], self._columns)
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def cut(self, step: int) -> None:
        """Forget what was written after the checkpoint that the run goes on from."""
        rows = self._rows()
        if self._writes and rows:
            self._write([row for row in rows if int(row["step"]) <= step], list(rows[0]))

    def _rows(self) -> list[dict[str, str]]:
        if not self._path.is_file():
            return []
        with self._path.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))

    def _write(self, rows: list[dict[str, str]], columns: list[str]) -> None:
        with self._path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(rows)


def _board(folder: Path) -> Any:
    """Raises: IacError: runtime_missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise IacError(
            Word.RUNTIME_MISSING,
            "TensorBoard cannot be loaded",
            way_out="pip install tensorboard, or drop --tensorboard; progress.csv holds the same",
        ) from error
    return SummaryWriter(folder)
