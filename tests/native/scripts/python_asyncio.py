# python3: asyncio, with a server on a UNIX socket
import asyncio
import tempfile


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await reader.readline()).upper())
    await writer.drain()
    writer.close()


async def ask(path: str, text: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(text + b"\n")
    answer = await reader.readline()
    writer.close()
    return answer


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        server = await asyncio.start_unix_server(serve, f"{directory}/s")
        async with server:
            print(await asyncio.gather(*(ask(f"{directory}/s", b"a%d" % number) for number in range(3))))
    print(await asyncio.gather(asyncio.sleep(0.02, "slow"), asyncio.sleep(0.01, "fast")))


asyncio.run(main())
