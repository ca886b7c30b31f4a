"""A py-libp2p program at chinwag's open door.

It puts a blob and gets it back, gets one that somebody else put, and tries to forge one. It is nobody's member, and
knows nothing of chinwag but the protocol's name and what a key looks like.

    python door.py ADDRESS OTHERS-BLOB...

ADDRESS is the door's TCP multiaddr with its peer id. The blobs of others are given as text and asked for by their hash.
Prints one line for each thing that it saw, and exits 1 at the first that is not as it should be.
"""

import hashlib
import sys
import time

import trio
from libp2p import kad_dht, new_host
from libp2p.custom_types import TProtocol
from libp2p.host.ping import PingService
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.records.validator import NamespacedValidator, Validator
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

PROTOCOL = TProtocol("/chinwag/kad/1.0.0")
WITHIN_S = 60


def speak(protocol: TProtocol) -> None:
    """Py-libp2p has its protocol's name as a constant, which each of its modules imports for itself."""
    named = [m for n, m in sys.modules.items() if n.startswith(kad_dht.__name__) and hasattr(m, "PROTOCOL_ID")]
    assert named, "py-libp2p keeps its protocol's name elsewhere by now"
    for module in named:
        module.PROTOCOL_ID = protocol


def key(value: bytes) -> str:
    return f"/chinwag/blob/{hashlib.sha256(value).hexdigest()}"


class Blobs(Validator):
    """What chinwag checks too: a blob proves itself, and two valid ones are the same."""

    def validate(self, name: str, value: bytes) -> None:
        if name != key(value):
            raise ValueError("the blob has another hash than its key says")

    def select(self, name: str, values: list[bytes]) -> int:
        return 0


async def with_program(address: str, use) -> None:
    """Runs `use(dht, door)` in a program of its own that is connected to the door."""
    host = new_host()
    door = info_from_p2p_addr(Multiaddr(address))
    # Nobody dials us, so any address will do.
    async with host.run(listen_addrs=[Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        await host.connect(door)
        blobs = NamespacedValidator({"chinwag": Blobs()}, strict_validation=True)
        dht = KadDHT(
            host,
            DHTMode.CLIENT,
            validator=blobs,
            validator_changed=True,
            protocol_prefix=TProtocol("/chinwag"),
            strict_validation=True,
        )
        async with background_trio_service(dht):
            assert await dht.add_peer(door.peer_id), "the door comes into the routing table"
            await use(dht, door.peer_id)


async def main(address: str, others: list[str]) -> None:
    speak(PROTOCOL)
    own = f"from py at {time.time_ns()}".encode()
    large = bytes([time.time_ns() % 251]) * (256 * 1024)

    async def write(dht: KadDHT, door) -> None:
        assert len(await PingService(dht.host).ping(door)) == 1, "the door answers a ping"
        print(f"connected to {door}, and pinged it")
        for value in (own, large):
            await dht.put_value(key(value), value)
        # A put refuses a forged blob by itself, so the door is asked one layer below.
        send = dht.value_store._store_at_peer
        forged = key(b"never put").encode()
        assert await send(door, key(own).encode(), own), "the door acknowledges a blob"
        assert not await send(door, forged, b"other bytes"), "the door refuses a forged blob"
        assert not await send(door, b"/chinwag/cell/greeting", own), "the door takes no cell"
        print("forged and foreign records were refused")

    async def read(dht: KadDHT, _door) -> None:
        for value in (own, large):
            assert await dht.get_value(key(value)) == value, "another program gets what was put"
            print(f"put and got {len(value)} bytes: {key(value)}")
        assert await dht.get_value(key(b"never put")) is None, "and nobody gets the forged one"
        for other in others:
            assert await dht.get_value(key(other.encode())) == other.encode(), "others' blobs are there"
            print(f"got another's: {other}")

    with trio.fail_after(WITHIN_S):
        await with_program(address, write)
        await with_program(address, read)
    print("py-libp2p: all as it should be")


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2:])
