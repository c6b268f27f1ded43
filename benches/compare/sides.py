"""Owns how either side of a comparison is built, started and read: Crosstie and Open MPI.

Both are started by the same mpirun on the same cores, make the same number of the same calls on
buffers that are aligned and touched alike, after the same warm-up, and both check their results. The
time of a call is that of its slowest rank, out of place, after the ranks have met: Crosstie meets in
an all_reduce of 8 bytes, MPI in its barrier. What is compared is the median call.
"""

import dataclasses
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OPERATIONS = ["all_reduce", "all_to_all", "all_gather", "reduce_scatter"]
BTLS = {"shm": ["--mca", "btl", "self,vader"],
        "tcp": ["--mca", "btl", "self,tcp", "--mca", "btl_tcp_if_include", "lo"]}
WARMUP_CALLS = 5
# Calls of the smallest size before the first row: by then the system has spread the ranks.
SETTLE_MS = 100
# Timed calls by size: enough for a median, and under a second for a size.
CALLS = [(4 << 10, 2000), (64 << 10, 500), (1 << 20, 100), (4 << 20, 40), (sys.maxsize, 20)]
OPEN_MPI = "Open MPI"


@dataclasses.dataclass(frozen=True)
class World:
    """What is measured, on either side."""

    operation: str
    ranks: int
    sizes: tuple[int, ...]  # bytes of one rank's buffer, each `factor` times the one before
    factor: int
    transport: str = "shm"


def cores() -> int:
    return len(os.sched_getaffinity(0))


def sizes(low: int, high: int, factor: int) -> tuple[int, ...]:
    return tuple(itertools.takewhile(
        lambda size: size <= high, (low * factor**k for k in itertools.count())))


def calls(size: int) -> int:
    return next(count for limit, count in CALLS if size <= limit)


def build_crosstie() -> str:
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT, check=True)
    metadata = subprocess.check_output(
        ["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT)
    return json.loads(metadata)["target_directory"] + "/release/crosstie"


def build_c(compiler: str, name: str, folder: str) -> str:
    program = f"{folder}/{name}"
    subprocess.run([compiler, "-O3", "-march=native", "-Wall", "-o", program,
                    str(HERE / f"{name}.c")], check=True)
    return program


def output(command: list[str]) -> str:
    # In containers Open MPI must be told that root is meant.
    environment = os.environ | {
        "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=600, env=environment)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def mpirun(ranks: int) -> list[str]:
    """Each rank on a core of its own where there are enough, else wherever the system likes."""
    placement = ["--bind-to", "core"] if ranks <= cores() else ["--oversubscribe", "--bind-to", "none"]
    return ["mpirun.openmpi", "-n", str(ranks), *placement]


class Sides:
    """The programs to compare: Open MPI, and Crosstie with one or both kinds of buffers."""

    def __init__(self, folder: str, crosstie: str | None):
        self.crosstie = crosstie or build_crosstie()
        self.peer = build_c("mpicc.openmpi", "mpi_coll", folder)
        lends = "--buffers" in output([self.crosstie, "bench", "--help"])
        self.buffers = ["shared", "private"] if lends else ["private"]

    def rounds(self, world: World, buffers: list[str], rounds: int) -> dict:
        """For each side and size, one median call per round; the sides take turns, and begin in
        turn, so that a machine that slows down slows all."""
        sides = [*buffers, OPEN_MPI]
        samples = {side: {size: [] for size in world.sizes} for side in sides}
        for turn in range(rounds):
            for side in sides[turn % len(sides):] + sides[:turn % len(sides)]:
                for size, p50_us in self._once(side, world).items():
                    samples[side][size].append(p50_us)
        return samples

    def _once(self, side: str, world: World) -> dict[int, float]:
        times = {}
        for count, group in itertools.groupby(world.sizes, calls):
            group = list(group)
            if side == OPEN_MPI:
                times |= self._open_mpi(world, group[0], group[-1], count)
            else:
                times |= self._crosstie(side, world, group[0], group[-1], count)
        missing = set(world.sizes) - set(times)
        if missing:
            sys.exit(f"{side} did not measure {world.operation} of {sorted(missing)} bytes")
        return times

    def _crosstie(self, buffers: str, world: World, low: int, high: int, count: int) -> dict:
        command = [*mpirun(world.ranks), self.crosstie, "bench", world.operation, "--nodes", "1",
                   "--transport", world.transport, "-b", str(low), "-e", str(high),
                   "-f", str(world.factor), "-n", str(count), "-w", str(WARMUP_CALLS),
                   "--budget-ms", str(SETTLE_MS), "--json"]
        if "shared" in self.buffers:
            command += ["--buffers", buffers]
        rows = json.loads(output(command))["rows"]
        return {row["bytes"]: right("Crosstie", row["out_of_place"]) for row in rows}

    def _open_mpi(self, world: World, low: int, high: int, count: int) -> dict:
        command = [*mpirun(world.ranks), "--mca", "pml", "ob1", *BTLS[world.transport]]
        if world.ranks > cores():
            command += ["--mca", "mpi_yield_when_idle", "1"]
        command += [self.peer, world.operation, *map(str, [
            low, high, world.factor, count, WARMUP_CALLS, SETTLE_MS])]
        rows = [json.loads(line) for line in output(command).splitlines()]
        return {row["bytes"]: right(OPEN_MPI, row) for row in rows}


def right(who: str, row: dict) -> float:
    if row["wrong"]:
        sys.exit(f"{who} gave {row['wrong']} wrong elements: nothing to compare")
    return row["p50_us"]


def medians(samples: dict) -> dict:
    return {side: {size: statistics.median(times) for size, times in by_size.items()}
            for side, by_size in samples.items()}


def size_name(size: int) -> str:
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size and size % (1 << shift) == 0:
            return f"{size >> shift} {unit}"
    return f"{size} B"
