"""`Workers` by Ray: actors on this machine or on a cluster, each of which opens once what its units need.

Where RAY_ADDRESS is set it is that cluster, whose machines have this program and see the same folders; where the caller
runs Ray already it is that one; else a Ray of our own on this machine, which ends with us. An actor that dies, or whose
machine does, is started anew a few times, and its unit goes to whichever is free; one for which there is no room joins
when there is. What raises is not answered, as in `Workers`. Nothing here knows what a unit is.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from cns.errors import MethodError
from cns_cli import settings
from cns_cli.workers import Work

RESTARTS = 3
"""How many actors that died are started anew (chosen)."""

OBJECTS_BYTES = 100 * 2**20
"""Ray's shared memory on this machine: units and answers are small, and Ray takes 75 MiB at least."""


class RayWorkers:
    """Actors that work through units.

    Args:
        opened: Called once in each actor, with its device and 1, since it has its share of the cores by itself.
            Functions, units and answers must be what pickle takes.
        places: The device of each actor; which of several GPUs it is, Ray says.

    Attributes:
        processes: Ids of the actors' processes, in the order in which they were ready.
    """

    def __init__(self, opened: Callable[[str, int], Work], places: Sequence[str]) -> None:
        self._exit = contextlib.ExitStack()
        self._ray = ray = self._exit.enter_context(_connected())
        cores = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        threads = max(1, min(max(cores), (settings.threads() or sum(cores)) // len(places)))
        gpus, asked = int(ray.cluster_resources().get("GPU", 0)), sum(place.startswith("cuda") for place in places)
        if asked and not gpus:
            self._exit.close()
            raise MethodError("Ray has no GPU here: expected a cluster that has one", "cns check --device cpu")
        self._actor = ray.remote(_Actor).options(
            num_cpus=threads,
            num_gpus=1 / -(-asked // gpus) if asked else 0,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": {"OMP_NUM_THREADS": str(threads)}},
        )
        self._opened, self._restarts, self._why = opened, RESTARTS, ""
        self._places, self._free = dict[Any, str](), list[Any]()
        self._streams = dict[Any, tuple[Any, int | None]]()
        self.processes = list[int]()
        for place in places:
            self._start(place.partition(":")[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for actor in self._places:
            self._ray.kill(actor)
        self._exit.close()

    def each(self, units: Sequence[Any], told: Callable[[int], None]) -> Iterator[tuple[int, Any]]:
        """Yield the number of each unit and its answer, as `Workers.each` does.

        Raises:
            MethodError: No actor could open what units need.
        """
        ray, waiting = self._ray, deque(enumerate(units))
        while waiting or any(number is not None for _, number in self._streams.values()):
            while waiting and self._free:
                number, unit = waiting.popleft()
                actor = self._free.pop()
                self._streams[actor.do.remote(unit)] = actor, number
            if not self._streams:  # none is left
                if self._why:
                    raise MethodError(f"no worker of Ray's could begin: {self._why}", "cns check --jobs 2")
                return
            (stream,), _ = ray.wait([*self._streams], num_returns=1)
            actor, doing = self._streams[stream]
            try:
                kind, answer = ray.get(next(stream))
            except (ray.exceptions.RayError, StopIteration):  # it was killed
                del self._streams[stream]
                waiting.extend([(doing, units[doing])] if doing is not None else ())
                self._lose(actor)
                continue
            if kind == "steps":
                told(answer)
                continue
            del self._streams[stream]
            if kind == "closed":
                self._why = answer
                continue
            self._free.append(actor)
            if kind == "open":
                self.processes.append(answer)
            elif kind == "done":
                assert doing is not None
                yield doing, answer

    def _start(self, place: str) -> None:
        actor = self._actor.remote(self._opened, place)
        self._places[actor] = place
        self._streams[actor.open.remote()] = actor, None

    def _lose(self, actor: Any) -> None:
        place = self._places.pop(actor)
        if self._restarts:
            self._restarts -= 1
            self._start(place)


class _Actor:
    """What runs in a process of Ray's; both methods are streams, whose last word is no "steps"."""

    def __init__(self, opened: Callable[[str, int], Work], place: str) -> None:
        self._opened, self._place = opened, place
        self._work: Work

    def open(self) -> Iterator[tuple[str, Any]]:
        """Open what units need, so that whoever cannot is given none."""
        try:
            self._work = self._opened(self._place, 1)
        except Exception as error:  # noqa: BLE001  an error of ours may be none that pickle takes
            yield "closed", f"{type(error).__name__}: {error}"
        else:
            yield "open", os.getpid()

    def do(self, unit: Any) -> Iterator[tuple[str, Any]]:
        """Do a unit, in a thread, since its steps are told by a call and streamed by a loop."""
        said = queue.SimpleQueue[tuple[str, Any]]()

        def work() -> None:
            try:
                said.put(("done", self._work(unit, lambda steps: said.put(("steps", steps)))))
            except Exception:  # noqa: BLE001  the caller does the unit itself, and meets the error there
                said.put(("undone", None))

        threading.Thread(target=work, daemon=True).start()
        kind = "steps"
        while kind == "steps":
            kind, answer = said.get()
            yield kind, answer


@contextlib.contextmanager
def _connected() -> Iterator[Any]:
    """Ray, quiet: it tells nobody of its use, and its own lines stay in its files."""
    settings.prepare_ray()
    import ray

    if ray.is_initialized():
        yield ray
        return
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
    ray._private.worker._worker_logs_enabled = False  # there is no other way: a worker's death is told on stdout
    before = signal.getsignal(signal.SIGTERM)
    with tempfile.TemporaryDirectory(prefix="cns-ray-", ignore_cleanup_errors=True) as folder:
        try:
            if settings.ray_address():
                ray.init(**quiet)
            else:
                ray.init("local", **quiet, object_store_memory=OBJECTS_BYTES, _temp_dir=folder)
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)  # Ray has put its own in its place
            yield ray
        finally:
            ray.shutdown()
