"""The limits of System V IPC, as the kernel has them without a sysctl (include/uapi/linux/{shm,sem,msg}.h)."""

#: Segments: how many, and of how many bytes; all of them, in pages.
SHMMNI, SHMMIN = 4096, 1
SHMMAX = SHMALL = (1 << 64) - 1 - (1 << 24)
#: Semaphores: in a set, operations in a call, sets, the largest value, semaphores in all.
SEMMSL, SEMOPM, SEMMNI, SEMVMX = 32000, 500, 32000, 32767
SEMMNS = SEMMSL * SEMMNI
#: Messages: queues, bytes in a message, bytes in a queue.
MSGMNI, MSGMAX, MSGMNB = 32000, 8192, 16384
