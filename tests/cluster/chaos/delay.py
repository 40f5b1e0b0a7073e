"""`python -m tests.cluster.chaos.delay QUEUE SECONDS`: lets every packet of a netfilter queue go on after so long.

It speaks nfnetlink_queue as linux/netfilter/nfnetlink_queue.h has it: one message binds the queue, one asks for packets' numbers
alone, and each packet is answered with a verdict. Prints `ready`, and ends with its caller's SIGTERM.
"""

import asyncio
import socket
import struct
import sys

NETLINK_NETFILTER = 12
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
_SUBSYSTEM = 3 << 8  # NFNL_SUBSYS_QUEUE
_PACKET, _VERDICT, _CONFIG = 0, 1, 2
_REQUEST, _ACK = 1, 4
_CFG_CMD, _CFG_PARAMS, _CFG_QUEUE_MAXLEN = 1, 2, 3
_BIND, _COPY_META, _ACCEPT = 1, 1, 1
_PACKET_HEADER, _VERDICT_HEADER = 1, 2
_LENGTH = 100_000  # packets that wait at the most
_HEAD = struct.Struct("=IHHII")


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _message(kind: int, queue: int, body: bytes, flags: int) -> bytes:
    body = struct.pack(">BBH", 0, 0, queue) + body
    return _HEAD.pack(_HEAD.size + len(body), _SUBSYSTEM | kind, flags, 0, 0) + body


def _numbers(data: bytes) -> list[int]:
    """The numbers of the packets that a read told of. Raises OSError with what the kernel refused."""
    found = []
    while len(data) >= _HEAD.size:
        length, kind, *_ = _HEAD.unpack_from(data)
        message, data = data[_HEAD.size : length], data[(length + 3) & ~3 :]
        if kind == 2 and (code := struct.unpack_from("=i", message)[0]):  # NLMSG_ERROR
            raise OSError(-code, "netfilter's queue")
        if kind == _SUBSYSTEM | _PACKET:
            attributes = message[4:]
            while len(attributes) >= 4:
                size, name = struct.unpack_from("=HH", attributes)
                if name == _PACKET_HEADER:
                    found.append(struct.unpack_from(">I", attributes, 4)[0])
                attributes = attributes[(size + 3) & ~3 :]
    return found


async def _serve(queue: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as kernel:
        kernel.bind((0, 0))
        kernel.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 << 20)
        for body in (
            _attribute(_CFG_CMD, struct.pack(">BBH", _BIND, 0, socket.AF_INET)),
            _attribute(_CFG_PARAMS, struct.pack(">IB", 0, _COPY_META)),
            _attribute(_CFG_QUEUE_MAXLEN, struct.pack(">I", _LENGTH)),
        ):
            kernel.send(_message(_CONFIG, queue, body, _REQUEST | _ACK))
            _numbers(kernel.recv(1 << 16))
        kernel.setblocking(False)

        def let_go(number: int) -> None:
            kernel.send(
                _message(_VERDICT, queue, _attribute(_VERDICT_HEADER, struct.pack(">II", _ACCEPT, number)), _REQUEST)
            )

        print("ready", flush=True)
        while True:
            for number in _numbers(await loop.sock_recv(kernel, 1 << 20)):
                loop.call_later(seconds, let_go, number)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
