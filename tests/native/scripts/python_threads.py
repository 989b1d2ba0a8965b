# python3: threads and a thread pool
import concurrent.futures
import queue
import threading

jobs: queue.Queue[int | None] = queue.Queue()
done: list[int] = []


def work() -> None:
    while (job := jobs.get()) is not None:
        done.append(job * job)


threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for number in [*range(50), None, None, None, None]:
    jobs.put(number)
for thread in threads:
    thread.join()
with concurrent.futures.ThreadPoolExecutor(3) as pool:
    print(sum(done), list(pool.map(abs, [-1, -2])))
