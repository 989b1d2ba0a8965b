# python3: multiprocessing with a pool, queues, locks and shared memory
import multiprocessing
from multiprocessing import shared_memory
from typing import Any


def square(number: int) -> int:
    return number * number


def count(name: str, lock: Any, times: int) -> None:
    block: Any = shared_memory.SharedMemory(name)
    for _ in range(times):
        with lock:
            block.buf[0] += 1
    block.close()


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        print(pool.map(square, range(10)))
    queue = context.Queue()
    process = context.Process(target=queue.put, args=({"from": "a child"},))
    process.start()
    print(queue.get())
    process.join()
    block: Any = shared_memory.SharedMemory(create=True, size=64)
    lock = context.Lock()
    counters = [context.Process(target=count, args=(block.name, lock, 20)) for _ in range(4)]
    for counter in counters:
        counter.start()
    for counter in counters:
        counter.join()
    print(block.buf[0], [counter.exitcode for counter in counters])
    block.close()
    block.unlink()
    value = context.Value("i", 5)
    print(value.value, process.exitcode)
