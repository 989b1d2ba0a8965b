"""Inter-process communication (ipc/): shared memory, semaphores and message queues of System V."""
