"""Where the cells of an experiment are carried out: in processes of this machine, on a Ray cluster, or by Slurm.

An executor is a function from jobs to what happens to them. Whatever carries a cell out, the cell's folder, its records and
``experiment.json`` are the same.
"""

from harness.executors.base import Event, Executor
from harness.executors.processes import local

__all__ = ["Event", "Executor", "local"]
