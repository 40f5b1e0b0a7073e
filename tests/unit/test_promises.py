"""Constants that are promises, in the words of the promise: who changes one of them changes what users were told.

The sentences are those of docs/; a value that nobody was told of is no promise and does not belong here.
"""

import socket
from datetime import timedelta
from typing import Any

import pytest

from hearth import coldstart
from hearth.activator import body, demand, errors, feed, looks
from hearth.activator.lane import balance, door, exchange, gate, heartbeat, hold, tokens
from hearth.api import base
from hearth.controller import choosing, leader, reconcile
from hearth.crd_translator import scaledobject
from hearth.http1 import connection, upstream
from hearth.http1.limits import Limits
from hearth.kube import client, decode, informer, workqueue
from hearth.scaler import listener, picture, servicer

MIB = 1024 * 1024
LIMITS = Limits()

PROMISES: list[tuple[str, Any, Any]] = [
    # The hold
    ("Demand stays until the first replica is ready plus 15 s.", hold.LEASE_AFTER_READY, 15.0),
    (
        "A start that brings no replica is given up 10 min after its last request could still have been held.",
        hold.LEASE_BEYOND_TIMEOUT,
        10 * 60.0,
    ),
    ("A replica that failed rests for 0.2 s, doubled up to 5 s.", (hold.EJECT_FIRST, hold.EJECT_LAST), (0.2, 5.0)),
    ("A request that was delivered whole goes to one other replica at most.", hold.DELIVERIES, 2),
    ("A request that its replica dropped waits 5 s for another one.", hold.OTHER_REPLICA_SECONDS, 5.0),
    ("A replica rests after three clients in a row gave up on it unheard.", hold.UNANSWERED, 3),
    ("A client's leaving counts against a replica after 5 s of silence.", exchange.PATIENCE_SECONDS, 5.0),
    # What clients hear
    ("An engine that starts is looked at each 100 ms while requests wait.", looks.LOOK_SECONDS, 0.1),
    ("A first sign of life comes within 100 ms: it is due after 50.", gate.OPENING_SECONDS, 0.05),
    ("Heartbeats are due at multiples of 25 ms.", heartbeat.GRID_SECONDS, 0.025),
    ("A replica that says nothing is noticed within a second of a heartbeat.", gate.SWEEP_SECONDS, 1.0),
    ("Retry-After of what is asked for again is at most 60 s.", errors.MAX_RETRY_AFTER_SECONDS, 60),
    ("Prefix balancing's loads are bounded at 1.25 of the mean.", balance.BOUND, 1.25),
    ("Prefix balancing looks at the first 2 KiB of the first messages.", body.PREFIX_BYTES, 2048),
    # What a stranger can make the activator hold
    ("A request's body is 64 MiB at most.", LIMITS.body_bytes, 64 * MIB),
    ("A body that Hearth itself is sent is 8 KiB at most.", door.UNREAD_BYTES, 8 * 1024),
    ("A prompt that nothing is said of is guessed at 32,768 tokens at most.", tokens.MAX_GUESS, 32_768),
    ("All bodies together are 512 MiB at most.", door.BUDGET_BYTES, 512 * MIB),
    ("A head is 64 KiB at most.", LIMITS.head_bytes, 64 * 1024),
    ("A head has 200 fields at most.", LIMITS.fields, 200),
    ("64 requests are read ahead on one connection at most.", LIMITS.pipelined, 64),
    ("An engine's head is 64 KiB at most.", upstream.MAX_HEAD_BYTES, 64 * 1024),
    ("A head comes within 30 s.", LIMITS.head_seconds, 30.0),
    (
        "A body comes at 1 KiB a second on the whole, after 30 s to begin with.",
        (LIMITS.body_seconds, LIMITS.body_rate),
        (30.0, 1024.0),
    ),
    ("A silent connection is kept for 75 s.", LIMITS.silent_seconds, 75.0),
    ("One that has asked is kept for 620 s, longer than load balancers keep theirs.", LIMITS.keep_alive_seconds, 620.0),
    ("A client that does not read is cut off after 5 min.", LIMITS.write_seconds, 300.0),
    ("What a refused client still sends is read for 3 s.", LIMITS.linger_seconds, 3.0),
    (
        "A peer that vanished without a word is noticed after two minutes.",
        dict(connection.KEEPALIVE),
        {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 15, socket.TCP_KEEPCNT: 4},
    ),
    ("The feed tells changes within 0.2 s, beats each 15 s, for 100 listeners.",
     (feed.COALESCE_SECONDS, feed.BEAT_SECONDS, feed.MAX_LISTENERS), (0.2, 15.0, 100)),
    # Demand
    ("Changes of demand are told together after 100 ms.", demand.COALESCE_SECONDS, 0.1),
    ("An activator beats each second.", demand.BEAT_SECONDS, 1.0),
    ("A scaler is blind where it has not heard a listed activator for 10 s.", picture.STANDS_SECONDS, 10.0),
    ("A stream of demand that says nothing for three beats is opened anew.", listener._SILENCE_SECONDS, 3.0),
    ("A stream of demand that ended is opened after 0.1 s, doubled up to 2 s.",
     (listener._FIRST_RETRY, listener._LAST_RETRY), (0.1, 2.0)),
    ("The metric is called queueDepth.", servicer.METRIC_NAME, "queueDepth"),
    ("A target is at most what KEDA's whole number holds.", servicer.MAX_TARGET, 2_147_483_647),
    ("KEDA polls each 5 s.", scaledobject.POLLING_SECONDS, 5),
    # The controller
    ("Another runtime is taken once it has been the better one for 3 min.", choosing.HELD, timedelta(minutes=3)),
    ("Hearth looks every 10 s whether KEDA is there.", reconcile.KEDA_LOOK_SECONDS, 10.0),
    ("Hearth looks every 10 s whether a name is free.", reconcile.NAME_LOOK_SECONDS, 10.0),
    ("Hearth makes KEDA look again every 15 s.", reconcile.NUDGE_SECONDS, 15.0),
    ("status.queueDepth is asked for each 5 s.", reconcile.LOOK_SECONDS, 5.0),
    ("A leader's lease lasts 10 s and is renewed each 2 s.", (leader.LEASE_SECONDS, leader.RENEW_SECONDS), (10.0, 2.0)),
    ("A leader stops before anybody else may begin.", leader.GIVE_UP_SECONDS < leader.LEASE_SECONDS, True),
    ("coldStartHistory has the last five.", coldstart.REMEMBERED, 5),
    # 0013: what raises is tried again by its own clock
    ("A callback that raised is called after 0.5 s, doubled up to a minute.",
     (informer._FIRST_CALL, informer._LAST_CALL), (0.5, 60.0)),
    ("A look that failed is repeated after 0.2 s, doubled up to a minute.",
     (workqueue._FIRST_RETRY, workqueue._LAST_RETRY), (0.2, 60.0)),
    ("A watch that failed is begun after 0.2 s, doubled up to 5 s.",
     (informer._FIRST_RETRY, informer._LAST_RETRY), (0.2, 5.0)),
    ("A watch that says nothing for 90 s is broken.", client.SILENCE_SECONDS, 90.0),
    ("JSON is read to 64 levels, the models' to 16.", (decode.MAX_DEPTH, base.MAX_DEPTH), (64, 16)),
]  # fmt: skip


@pytest.mark.parametrize(("found", "promised"), [row[1:] for row in PROMISES], ids=[row[0] for row in PROMISES])
def test_it_is_kept(found: Any, promised: Any) -> None:
    assert found == promised
